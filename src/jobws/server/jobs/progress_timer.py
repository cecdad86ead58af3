"""Has merged progress sent when its windows end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

if TYPE_CHECKING:
    from jobws.hub.jobs.fanout import Fanout
    from jobws.server.auto_reset_event import AutoResetEvent

# The shortest pause while a window is open. The windows of many jobs end at different times, and are served together.
PAUSE_SECONDS: Final = 0.01


class ProgressTimer:
    """Calls `Fanout.send_due_progress` when it is due.

    Args:
        fanout: Merges progress in windows.
        opened: Is set when a window is opened while there is no other.
    """

    def __init__(self, fanout: Fanout, opened: AutoResetEvent) -> None:
        self._fanout = fanout
        self._opened = opened

    async def run(self) -> None:
        """Have progress sent until cancelled. While no window is open, this sleeps."""
        while True:
            seconds = self._fanout.send_due_progress()
            if seconds is None:
                await self._opened.wait()
            else:
                await anyio.sleep(max(seconds, PAUSE_SECONDS) if seconds else 0)
