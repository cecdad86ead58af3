"""The lines of jobs' logs in one room: how far they have come, and the last of them for who comes later. PURE.

There is one subscription per room, so one stream of lines for all who watch it. Whoever comes later has it subscribed
again, behind what came before, and gets that from here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from jobws.client.event import Event, JsonObject
from jobws.protocol.messages import Room

if TYPE_CHECKING:
    from collections.abc import Iterator

# As many as the bridge tells a new subscription of those that there are.
KEPT_BYTES: Final = 256 * 1024
JOB_LOG: Final = "job-log"


class _Lines(Struct, rename="camel"):
    """The data of a `job-log` (protocol.md, E8)."""

    queue: str
    job_id: str
    lines: list[str]
    first: int
    position: str
    anywhere: bool = False
    gap: bool = False


class RoomLines:
    """What came of a room's lines. Their numbers go on behind a position that the bridge was given."""

    def __init__(self) -> None:
        self._positions: dict[str, str] = {}
        self._ends: dict[str, int] = {}
        # By the ref of a request: the ends when it was made.
        self._asked: dict[int, dict[str, int]] = {}
        # By queue, since the last answer: the number that comes next, if it was asked for, and up to which number lines
        # had come when the answer did, which was asked for before.
        self._repeated: dict[str, tuple[int | None, int]] = {}
        self._kept: deque[tuple[Event, int]] = deque()
        self._size = 0

    def wanted(self) -> bool | JsonObject:
        """The `logs` of a subscription that goes on."""
        return {"after": dict(self._positions)} if self._positions else True

    def asked(self, ref: int) -> None:
        """The request `ref` has just what is `wanted`."""
        self._asked[ref] = dict(self._ends)

    def answered(self, ref: int) -> None:
        """It was answered: from now on lines come behind what was wanted then, also if it was asked for again since."""
        asked = self._asked.pop(ref, {})
        self._repeated = {queue: (asked.get(queue), end) for queue, end in self._ends.items()}

    def leave(self) -> None:
        """No answer is due any more."""
        self._asked.clear()

    def kept(self) -> Iterator[tuple[Event, int]]:
        """The last lines that came, and their sizes."""
        return iter(self._kept)

    def take(self, data: JsonObject, size: int) -> Event | None:
        """The event to hand on, without lines that came before; None: it has no others.

        Raises:
            msgspec.ValidationError: It is no `job-log`.
        """
        lines = msgspec.convert(data, _Lines)
        end = lines.first + len(lines.lines)
        following, until = self._repeated.pop(lines.queue, (None, 0))
        anew = lines.gap or following not in (None, lines.first)  # numbers are
        came = 0 if anew else max(until - lines.first, 0)
        if came > len(lines.lines):
            self._repeated[lines.queue] = end, until
        else:
            self._positions[lines.queue] = lines.position
            self._ends[lines.queue] = end
        if came >= len(lines.lines):
            return None
        event = Event(JOB_LOG, {**data, "lines": lines.lines[came:], "first": lines.first + came})
        self._kept.append((event, size))
        self._size += size
        while self._size > KEPT_BYTES and len(self._kept) > 1:
            self._size -= self._kept.popleft()[1]
        return event


def room_of(data: object) -> Room:
    """Which room a `job-log` is for.

    Raises:
        msgspec.ValidationError: It is none.
    """
    lines = msgspec.convert(data, _Lines)
    return Room(None if lines.anywhere else lines.queue, lines.job_id)
