"""Sends queries to Redis in rounds: the queries that callers make during one round are sent together in the next one.

Rounds follow each other over one connection, which a thousand clients share. Equal queries of a round are sent once. A
large round takes several round trips.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Hashable
from functools import partial
from itertools import compress, islice
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from jobws.bullmq import snapshot
from jobws.bullmq.snapshot import LookUp
from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.protocol.identifiers import START
from jobws.protocol.messages import ItemError, JobSnapshot
from jobws.redis.commands import is_wrong_type
from jobws.redis.connection import Connection, RedisTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.snapshot import Found, Job
    from jobws.privacy.rules import Privacy
    from jobws.protocol.messages import Cursor
    from jobws.redis.commands import Command

Answer = TypeVar("Answer", covariant=True)
# The jobs of one round trip: for each of its transactions, the label of a queue and job ids.
_Batch: TypeAlias = "list[tuple[str, Sequence[str]]]"

# At most so many jobs are read in one round trip, whose replies are parsed in one step: 200 took up to 1.7 ms.
IDS_PER_TRANSACTION: Final = 100
TRANSACTIONS_PER_BATCH: Final = 50
# A caller gets its answer when its whole round has ended. With this limit, a caller with few jobs does not wait for
# thousands that others ask for later.
JOBS_PER_ROUND: Final = 5_000
TIMEOUT_SECONDS: Final = 5.0

_log: Final = logging.getLogger(__name__)


class RedisQuery(Hashable, Protocol[Answer]):
    """A query to Redis, other than a look-up of jobs. Equal queries of one round are sent once."""

    def commands(self) -> Sequence[Command]:
        """Return the commands, which are sent together."""
        ...

    def parse(self, replies: Sequence[object]) -> Answer:
        """Return the answer, from one reply per command. An error reply is a value among the replies.

        Raises:
            RedisUnavailableError: Because of an error reply, there is no answer.
        """
        ...


class _Round:
    """The queries of one round, and their answers. Queries are added until the round begins.

    `sought` has the jobs to search for, which are read only if they exist. `job_ids` has the jobs to read. `size` is
    how many jobs callers asked for, and `callers` is how many tasks wait for the answers.
    """

    def __init__(self) -> None:
        self.size = 0
        self.callers = 0
        self.sought: dict[str, dict[str, None]] = {}
        self.job_ids: dict[str, dict[str, None]] = {}
        self.found: Found = {}
        self.moments: dict[Job, str] = {}
        self.ends: Cursor = {}
        self.replies: dict[RedisQuery[object], Sequence[object]] = {}
        self.failure: RedisUnavailableError | None = None
        self.done = anyio.Event()

    def add(self, label: str, job_ids: Iterable[str], sought: Collection[str]) -> None:
        """Add jobs of a queue to look up. Those in `sought` are read only if a search finds that the queue has them."""
        for job_id in job_ids:
            asked = self.sought if job_id in sought else self.job_ids
            asked.setdefault(label, {})[job_id] = None

    def note(
        self, label: str, job_ids: Sequence[str], found: Iterable[JobSnapshot | ItemError | None], end: str
    ) -> None:
        """Store what was found of some jobs of a queue, one item of `found` for each id.

        The item None means that there is no such job. `end` is the last id of the queue's stream at that moment.
        """
        self.ends[label] = end
        for job_id, each in zip(job_ids, found, strict=True):
            self.moments[label, job_id] = end
            if each is not None:
                self.found[label, job_id] = each

    def note_search(self, label: str, job_ids: Sequence[str], exist: Sequence[bool], end: str) -> None:
        """Add those jobs of a queue that exist to the jobs to read, and store that the other ones do not exist.

        `exist` has an item for each id. `end` is the last id of the queue's stream at the time of the search.
        """
        self.add(label, compress(job_ids, exist), ())
        missing = [job_id for job_id, exists in zip(job_ids, exist, strict=True) if not exists]
        self.note(label, missing, [None] * len(missing), end)


class Store:
    """Answers queries to Redis while `run` runs.

    Args:
        target: Where Redis is.
        queues: The queues by label. The caller may change this mapping later.
        privacy: What snapshots do not contain.
        results: Whether snapshots contain results and reasons of failure.
    """

    def __init__(
        self, target: RedisTarget, queues: Mapping[str, Queue], privacy: Privacy, *, results: bool = False
    ) -> None:
        self._target = target
        self._results = results
        self._privacy = privacy
        self._queues = queues
        self._connection: Connection | None = None
        self._rounds: deque[_Round] = deque()
        self._asked = anyio.Event()

    async def look_up(self, job_ids: Mapping[str, Collection[str]], sought: Collection[str] = ()) -> LookUp:
        """Look jobs up. Cancelling is safe and does not affect other callers.

        Args:
            job_ids: The ids by the label of their queue. If a label is not in `queues` when the query is sent, none of
                its jobs is found.
            sought: Those of the ids that most queues are not expected to have. Redis is first asked only which queues
                have them.

        Raises:
            RedisUnavailableError: Redis did not answer, or refused to. An error about one job is an ItemError instead.
        """
        if not job_ids:
            await anyio.lowlevel.checkpoint()
            return LookUp({}, {}, {})
        current = self._round(sum(map(len, job_ids.values())))
        for label, some in job_ids.items():
            current.add(label, some, sought if len(job_ids) > 1 else ())
        await self._finished(current)
        return LookUp(current.found, current.moments, current.ends)

    async def ask(self, query: RedisQuery[Answer]) -> Answer:
        """Return the answer to a query. Cancelling is safe and does not affect other callers.

        Raises:
            RedisUnavailableError: Redis did not answer, or refused to, or `query.parse` raised this error.
        """
        current = self._round()
        current.replies[query] = ()
        await self._finished(current)
        return query.parse(current.replies[query])

    def _round(self, jobs: int = 0) -> _Round:
        """Return the round in which to send a query for so many jobs, and add their number to its `size`.

        This is the newest round that has not begun. If there is none, or the jobs would make it too large, a new round
        is appended.
        """
        last = self._rounds[-1] if self._rounds else None
        if last is None or (last.size and last.size + jobs > JOBS_PER_ROUND):
            last = _Round()
            self._rounds.append(last)
        last.size += jobs
        return last

    async def _finished(self, current: _Round) -> None:
        self._asked.set()
        current.callers += 1
        try:
            await current.done.wait()
        finally:
            current.callers -= 1
        if current.failure is not None:
            raise RedisUnavailableError(str(current.failure)) from current.failure

    async def run(self) -> None:
        """Answer queries until cancelled."""
        try:
            while True:
                await self._asked.wait()
                current = self._rounds.popleft()
                if not self._rounds:
                    self._asked = anyio.Event()
                if not current.callers:
                    continue
                try:
                    await self._answer(current)
                except (RedisUnavailableError, RedisRefusedError) as error:
                    current.failure = RedisUnavailableError(str(error))
                finally:
                    if not current.done.is_set():
                        current.failure = current.failure or RedisUnavailableError("the look-up was cut short")
                    current.done.set()
        finally:
            if self._connection is not None:
                self._connection.close()

    async def _execute(self, *commands: Command) -> list[object]:
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.open(self._target)
        return list(await self._connection.execute(*commands, timeout_seconds=TIMEOUT_SECONDS))

    async def _answer(self, current: _Round) -> None:
        for some in _batches(current.sought):
            await self._search(current, some)
        for some in _batches(current.job_ids):
            await self._read(current, some)
        for query in current.replies:
            current.replies[query] = await self._execute(*query.commands())
        current.done.set()

    async def _search(self, current: _Round, batch: _Batch) -> None:
        """Find out which jobs of the batch exist. Add these to the jobs to read; store the others as missing."""
        mixed: _Batch = []
        for queue, job_ids, raw_ids, replies in await self._transactions(current, batch, snapshot.count_commands):
            exist = snapshot.parse_count(raw_ids, replies)
            if exist is None:
                mixed.append((queue.label, job_ids))
            else:
                current.note_search(queue.label, job_ids, exist, snapshot.end(replies))
        if mixed:
            for queue, job_ids, _, replies in await self._transactions(current, mixed, snapshot.search_commands):
                current.note_search(queue.label, job_ids, snapshot.parse_search(replies), snapshot.end(replies))

    async def _read(self, current: _Round, batch: _Batch) -> None:
        def commands(queue: Queue, job_ids: Sequence[bytes]) -> list[Command]:
            return snapshot.commands(queue, job_ids, self._privacy.of(queue.label), results=self._results)

        for queue, job_ids, raw_ids, replies in await self._transactions(current, batch, commands):
            rules = self._privacy.of(queue.label)
            parse = partial(snapshot.parse, queue, raw_ids, replies, rules, results=self._results)
            # To redact a megabyte may take 0.2 s, in which a thread holds up others for 5 ms at a time.
            snapshots = await anyio.to_thread.run_sync(parse) if self._results and rules is not None else parse()
            current.note(queue.label, job_ids, map(_readable, snapshots), snapshot.end(replies))

    async def _transactions(
        self, current: _Round, batch: _Batch, commands: Callable[[Queue, Sequence[bytes]], list[Command]]
    ) -> list[tuple[Queue, Sequence[str], Sequence[bytes], list[object]]]:
        """Send one transaction for each item of a batch. Return for each its queue, ids, encoded ids and replies.

        An item whose label is not in `queues` is left out, and its jobs are stored as missing.
        """
        asked: list[Command] = []
        transactions: list[tuple[Queue, Sequence[str], list[bytes], int]] = []
        for label, job_ids in batch:
            queue = self._queues.get(label)
            if queue is None:
                current.note(label, job_ids, [None] * len(job_ids), START)
                continue
            asked += commands(queue, raw_ids := [job_id.encode() for job_id in job_ids])
            transactions.append((queue, job_ids, raw_ids, len(asked) - 1))
        replies = await self._execute(*asked)
        answered: list[tuple[Queue, Sequence[str], Sequence[bytes], list[object]]] = []
        for queue, job_ids, raw_ids, last in transactions:
            executed = replies[last]
            if not isinstance(executed, list):
                raise RedisUnavailableError(f"Redis cannot answer look-ups now: {executed}")
            answered.append((queue, job_ids, raw_ids, executed))
        return answered


def _batches(job_ids: Mapping[str, Iterable[str]]) -> Iterator[_Batch]:
    """Split jobs into batches. Each item of a batch is the label and the ids of one transaction."""
    batch: _Batch = []
    size = 0
    for label, ids in job_ids.items():
        rest = iter(ids)
        while some := list(islice(rest, IDS_PER_TRANSACTION)):
            if len(batch) == TRANSACTIONS_PER_BATCH or size + len(some) > IDS_PER_TRANSACTION:
                yield batch
                batch, size = [], 0
            batch.append((label, some))
            size += len(some)
    if batch:
        yield batch


def _readable(found: JobSnapshot | Exception | None) -> JobSnapshot | ItemError | None:
    if not isinstance(found, Exception):
        return found
    if is_wrong_type(found):
        return None  # the key is something else, for instance the lock of a job, so no job has this id
    return ItemError("unavailable", f"Redis cannot tell about this job: {found}")
