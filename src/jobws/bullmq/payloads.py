"""Makes the payloads of events by the rules of their queues: as large as a frame may be, or whole. Pure."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from jobws.bullmq.events import payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.privacy.rules import Privacy


class Payloads:
    """Makes the payloads of events.

    Args:
        max_bytes: How large a payload in a frame may be; see `payload`.
        privacy: What clients are not shown.
    """

    def __init__(self, max_bytes: int, privacy: Privacy) -> None:
        self._max_bytes = max_bytes
        self._privacy = privacy

    def take_long(self, queue: str) -> bool:
        """Whether a payload of this queue may take milliseconds, since parts of it are redacted."""
        return self._privacy.of(queue) is not None

    def in_frame(self, queue: str, at: bytes, fields: Sequence[bytes]) -> tuple[bytes, list[str]]:
        """Return the payload for frames, and what was wrong with the event; see `payload`."""
        return payload(queue, at, fields, self._max_bytes, self._privacy.of(queue))

    def whole(self, queue: str, at: bytes, fields: Sequence[bytes]) -> bytes:
        """Return the payload whatever its size."""
        return payload(queue, at, fields, sys.maxsize, self._privacy.of(queue))[0]
