"""Has the progress sent that the hub holds, when its time has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from jobws.hub.jobs.fanout import Fanout
    from jobws.server.auto_reset_event import AutoResetEvent

# The shortest pause while progress is held. The windows of many jobs end at different times, and are served together.
PAUSE_SECONDS: Final = 0.01


class ProgressTimer:
    """Calls `Fanout.send_due_progress` when it is due.

    Args:
        fanout: Holds progress.
        opened: Is set when the fanout begins to hold progress.
    """

    def __init__(self, fanout: Fanout, opened: AutoResetEvent) -> None:
        self._fanout = fanout
        self._opened = opened

    async def run(self) -> None:
        """Have progress sent until cancelled. While none is held, this sleeps."""
        while True:
            seconds = self._fanout.send_due_progress()
            if seconds is None:
                await self._opened.wait()
            else:
                await anyio.sleep(max(seconds, PAUSE_SECONDS) if seconds else 0)
