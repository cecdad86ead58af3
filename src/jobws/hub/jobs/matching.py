"""How many subscriptions of one client match the same job: each brings a frame for each of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobws.protocol.request_types import Room

MAX_MATCHING: Final = 16


class Matching:
    """The subscriptions of a client that has at least `MAX_MATCHING` of them.

    Args:
        rooms: Those that it has.
    """

    __slots__ = ("_by_job", "_whole")

    def __init__(self, rooms: Iterable[Room]) -> None:
        # The queues that they name, None for none, by job; and of those to whole queues.
        self._by_job: dict[str, list[str | None]] = {}
        self._whole: list[str | None] = []
        for room in rooms:
            self.add(room)

    def _alike(self, room: Room) -> list[str | None]:
        return self._whole if room.job_id is None else self._by_job.setdefault(room.job_id, [])

    def add(self, room: Room) -> None:
        """Count a subscription that was added."""
        self._alike(room).append(room.queue)

    def remove(self, room: Room) -> None:
        """Count a subscription that was removed."""
        alike = self._alike(room)
        alike.remove(room.queue)
        if not alike and room.job_id is not None:
            del self._by_job[room.job_id]

    def most(self, room: Room) -> int:
        """How many match some job that `room` would match, too."""
        jobs = self._by_job.values() if room.job_id is None else [self._by_job.get(room.job_id, [])]
        most = 0
        for queues in jobs:
            for queue in (room.queue,) if room.queue is not None else {*queues, *self._whole, None}:
                most = max(most, sum(each is None or each == queue for each in queues) + self._whole.count(queue))
        return most if jobs else self._whole.count(room.queue)
