"""Shows the numbers of the demo's queues, as a dashboard gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio

from jobws.client import connect
from jobws.demo.show import say_missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

PATIENCE_SECONDS: Final = 10.0
_SHOWN: Final = ("waiting", "active", "completed", "failed")


async def show_counts(
    url: str, queues: Sequence[str], console: Console, patience_seconds: float = PATIENCE_SECONDS
) -> bool:
    """Print how many jobs the queues have in the main states, and how many completed in the last minute.

    Returns:
        Whether the numbers of each queue came within `patience_seconds`.

    Raises:
        ClientError: The bridge refused a request, or is gone.
    """
    told: dict[str, Any] = {}
    with anyio.move_on_after(patience_seconds):
        async with connect(url) as client, client.watch_queue(queues, ["queue-stats"]) as events:
            while len(told) < len(queues):
                event = await anext(events)
                told[str(event.data["queue"])] = event.data
    console.print("queue-stats of the queues:")
    for queue in sorted(told):
        counts = ", ".join(f"{told[queue]['counts'][state]} {state}" for state in _SHOWN)
        line = f"  {queue}: {counts}; {told[queue]['completedPerMinute']} completed a minute"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    missing = sorted(set(queues) - set(told))
    if missing:
        say_missing(f"the numbers of {', '.join(missing)} did not come", console)
    return not missing
