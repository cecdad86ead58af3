"""Counts how many subscriptions of one client get the events of the same job.

There is a limit, since the client gets a frame for each event and each such subscription.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobws.protocol.request_types import Room

MAX_MATCHING: Final = 16


class Matching:
    """Counts, for each job, the subscriptions of one client that get the job's events. `MAX_MATCHING` limits them.

    A client with fewer subscriptions in all cannot reach the limit, and so has no such object.

    Args:
        rooms: The room of each of the client's present subscriptions.
    """

    __slots__ = ("_by_job", "_whole")

    def __init__(self, rooms: Iterable[Room]) -> None:
        # The queue of each subscription to a job, by job id, and of each one to a whole queue. None means every queue.
        self._by_job: dict[str, list[str | None]] = {}
        self._whole: list[str | None] = []
        for room in rooms:
            self.add(room)

    def _alike(self, room: Room) -> list[str | None]:
        return self._whole if room.job_id is None else self._by_job.setdefault(room.job_id, [])

    def add(self, room: Room) -> None:
        """Count a new subscription, which has this room."""
        self._alike(room).append(room.queue)

    def remove(self, room: Room) -> None:
        """Stop counting a subscription with this room, which has ended."""
        alike = self._alike(room)
        alike.remove(room.queue)
        if not alike and room.job_id is not None:
            del self._by_job[room.job_id]

    def has(self, count: int, room: Room) -> bool:
        """Whether `room` includes a job whose events at least `count` (1 or more) of the counted subscriptions get."""
        if room.job_id is None:
            return any(self._have(count, room, queues) for queues in ((), *self._by_job.values()))
        queues = self._by_job.get(room.job_id, ())
        # A job nearly always has fewer subscriptions. Then queues are not compared: it would take 7 % of the time that
        # a new subscription takes.
        return len(queues) + len(self._whole) >= count and self._have(count, room, queues)

    def _have(self, count: int, room: Room, queues: Sequence[str | None]) -> bool:
        """Return what `has` returns, for one job id. `queues` are those of the subscriptions to this id."""
        matched = (room.queue,) if room.queue is not None else {*queues, *self._whole, None}
        return any(
            sum(each is None or each == queue for some in (queues, self._whole) for each in some) >= count
            for queue in matched
        )
