"""Counts the jobs below jobs in their flows, for snapshots: how many there are, and how many have ended."""

from __future__ import annotations

from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from jobws.bullmq.children import CountChildren, ListChildren, room_of
from jobws.bullmq.family import labels_by_front
from jobws.bullmq.nested_queues import AreForeign
from jobws.errors import RedisUnavailableError, RequestError
from jobws.protocol.messages import Tree
from jobws.protocol.requests import may_follow
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias, TypeVar

    from jobws.bullmq.children import Children
    from jobws.bullmq.keys import Queue
    from jobws.bullmq.store import Store
    from jobws.protocol.request_types import Room, Sight

    Each = TypeVar("Each")
    Judge: TypeAlias = Callable[[Callable[[Sight], object]], Awaitable[Sight]]

JOBS_AT_ONCE: Final = 200
MAX_JOBS: Final = 10_000  # in one flow


class _Found(NamedTuple):
    """A job in the flow of the job `top`. `end` says how it has ended: `done` or `failed`, or "" if it has not."""

    top: Room
    room: Room
    end: str


class Trees:
    """Counts the jobs below jobs in their flows.

    Args:
        labels: The queues that the bridge serves, by label; a live view.
        store: Reads lists of children from Redis.
    """

    def __init__(self, labels: Mapping[str, Queue], store: Store) -> None:
        self._labels = labels
        self._store = store

    async def count(self, tops: Collection[Room], judge: Judge) -> dict[Room, Tree]:
        """Return by job how many jobs are below it that the client may read.

        Jobs below one that the client may not read are not counted.

        Args:
            tops: The jobs. Each names its queue.
            judge: Returns what the client may see. It is given a function that asks a sight for every right that is
                needed. Before it returns, it has the authorizer, if there is one, asked for these. The answers are
                valid until the next await.

        Returns:
            The numbers of each of `tops`; all are 0 if no such job is below it. An empty dictionary if Redis or the
            authorizer does not answer, or if more than MAX_JOBS jobs are below these jobs together.
        """
        try:
            return await self._count(tops, judge)
        except (RedisUnavailableError, RequestError):
            return {}

    async def _count(self, tops: Collection[Room], judge: Judge) -> dict[Room, Tree]:
        ends: dict[Room, dict[Room, str]] = {top: {top: ""} for top in tops}
        level = [_Found(top, top, "") for top in tops]
        fronts, size, turn = labels_by_front(self._labels.values()), 0, Turn()
        while level:
            below: list[_Found] = []
            for some in portions(level):
                parents, lists = await self._children(some, MAX_JOBS - size)
                size += sum(map(len, chain(*lists)))
                for parent, children in zip(parents, lists, strict=True):
                    for found in _below(parent.top, children, fronts):
                        if found.room not in ends[found.top]:
                            below.append(found)
                        await turn.pause()
            level = []
            for some in portions(below):
                own = set(await own_rooms(self._store, self._labels, [found.room for found in some]))
                some = [found for found in some if found.room in own]
                sight = await judge(partial(_examine, some))
                for found in some:
                    if found.room not in ends[found.top] and may_follow(sight, found.top, found.room):
                        ends[found.top][found.room] = found.end
                        level.append(found)
                await turn.pause()
        return {top: _tree(each) for top, each in ends.items()}

    async def _children(self, jobs: Sequence[_Found], most: int) -> tuple[list[_Found], list[Children]]:
        """Return those of the jobs that have children, and the children of each of these.

        Raises:
            RequestError: `too-many`: all of the jobs together have more than `most` children.
            RedisUnavailableError: Redis does not tell.
        """
        queues = [(each, self._labels.get(each.room.queue or "")) for each in jobs]
        keys = {each: queue.key(each.room.job_id or "") for each, queue in queues if queue is not None}
        counts = await self._store.ask(CountChildren(tuple(keys.values())))
        parents = [each for each, count in zip(keys, counts, strict=True) if any(count)]
        if sum(map(sum, counts)) > most:
            raise RequestError("too-many", f"more than {MAX_JOBS:,} jobs are below the job")
        if not parents:
            return [], []
        return parents, await self._store.ask(ListChildren(tuple(keys[each] for each in parents)))


def _examine(found: Iterable[_Found], sight: Sight) -> None:
    for each in found:
        may_follow(sight, each.top, each.room)


def _below(top: Room, children: Children, fronts: Mapping[bytes, str]) -> Iterator[_Found]:
    ends = ("", "done", "failed", "failed")
    for end, keys in zip(ends, children, strict=True):
        for key in keys:
            if (room := room_of(key, fronts)) is not None:
                yield _Found(top, room, end)


def _tree(ends: Mapping[Room, str]) -> Tree:
    """Return the numbers of a flow, from how each job of it has ended. The job at the top does not count."""
    how = list(ends.values())
    return Tree(how.count("done"), how.count("failed"), len(how) - 1)


async def own_rooms(store: Store, labels: Mapping[str, Queue], rooms: Collection[Room]) -> list[Room]:
    """Return these rooms of jobs without those whose jobs belong to another queue; see `nested_queues`.

    Raises:
        RedisUnavailableError: Redis does not tell.
    """
    asked = {
        room: (queue, room.job_id.encode())
        for room in rooms
        if room.job_id is not None and ":" in room.job_id and (queue := labels.get(room.queue or "")) is not None
    }
    if not asked:
        return list(rooms)
    foreign = dict(zip(asked, await store.ask(AreForeign(tuple(asked.values()))), strict=True))
    return [room for room in rooms if not foreign.get(room)]


def portions(items: Iterable[Each]) -> Iterator[list[Each]]:
    """Yield the items, as many together as one query to Redis asks for."""
    left = iter(items)
    while some := list(islice(left, JOBS_AT_ONCE)):
        yield some
