"""An event that one task waits for repeatedly. The event resets itself after each wait."""

from __future__ import annotations

import anyio


class AutoResetEvent:
    """Wakes the one task that waits for it. If no task waits when it is set, the next wait ends immediately."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Wake the task. Never waits."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until the event is set, then reset it. Cancelling does not reset it."""
        await self._event.wait()
        self._event = anyio.Event()
