"""An event that resets itself: what one task waits for again and again."""

from __future__ import annotations

import anyio


class AutoResetEvent:
    """Wakes the one task that waits for it. If it is set while nobody waits, the next wait ends immediately."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Wake the task. Never waits."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until it is set, and reset it. Cancelling leaves it as it is."""
        await self._event.wait()
        self._event = anyio.Event()
