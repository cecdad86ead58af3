"""Subscribes to queues that may not exist yet, by asking again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from jobws.errors import ResponseError
from tests.support.adapter import Rejected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from tests.chaos.jobs import Ledger

# Not more often, since a bridge closes the connection of a client that causes 20 errors in 10 s.
AGAIN_SECONDS: Final = 1.0


async def until_known(ledger: Ledger, random: Random, ask: Callable[[], Awaitable[None]]) -> None:
    """Call `ask`. While the bridge does not know the queue, call it again, less and less often."""
    wait = AGAIN_SECONDS
    while True:
        try:
            await ask()
        except (ResponseError, Rejected) as error:
            code = error.code if isinstance(error, ResponseError) else error.error.get("code")
            if code != "unknown-queue":
                raise
            ledger.counts[f"error {code}"] += 1
            await trio.sleep(random.uniform(wait, 2 * wait))
            wait *= 2
        else:
            return
