"""What the HTTP endpoints need of the bridge: its queues, questions to Redis, and clients inside of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from jobws.bullmq.keys import Queue
from jobws.bullmq.snapshot import by_queue
from jobws.errors import RedisUnavailableError, RequestError
from jobws.protocol.messages import ItemError
from jobws.server.http.request import BodyLimits
from jobws.server.websocket.in_process_client import InProcessClient

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Mapping, Sequence

    from jobws.bullmq.snapshot import Found, Job
    from jobws.bullmq.store import Question, Store
    from jobws.bullmq.submit import Submitter
    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.pending_subscription import PendingSubscription
    from jobws.protocol.log.records import LogRecord
    from jobws.server.intervals import Intervals
    from jobws.server.jobs.queue_readers import Queues
    from jobws.server.log.service import Logs
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks
    from jobws.server.websocket.endpoint import Clients

Answer = TypeVar("Answer")

NOT_RUNNING: Final = "the bridge is mounted but not running: enter `bridge.running()` in the outer app's lifespan"
UNKNOWN_QUEUE: Final = ItemError("unknown-queue", "this bridge has no `queue` of that label; GET /queues lists them")


class Service:
    """What the routes ask for. While the bridge is not running, nothing is answered.

    Args:
        settings: The bridge's.
        intervals: How long to wait where no setting says it.
        tasks: Those of the bridge, which exist while it runs.
        queues: The queues and who reads them.
        clients: Those of `/ws`, which one inside of this process joins.
        logs: The log.
        store: Answers questions. What is asked for over HTTP must not hold up the subscriptions, so it is not theirs.
        result_store: Looks up jobs with their results, which may be megabytes.
        submitter: Adds jobs.
    """

    def __init__(
        self,
        settings: Settings,
        intervals: Intervals,
        tasks: Tasks,
        queues: Queues,
        clients: Clients[JobClient, PendingSubscription],
        logs: Logs,
        store: Store,
        result_store: Store,
        submitter: Submitter,
    ) -> None:
        self.settings = settings
        self.intervals = intervals
        self.body_limits = BodyLimits(settings.max_body_bytes, intervals.body_seconds)
        self._tasks = tasks
        self._queues = queues
        self._clients = clients
        self._logs = logs
        self._store = store
        self._result_store = result_store
        self._submitter = submitter

    def _check_running(self) -> None:
        if not self._tasks.are_running:
            raise RedisUnavailableError(NOT_RUNNING)

    @property
    def labels(self) -> Mapping[str, Queue]:
        """The queues that are known, by label; a live view."""
        return self._queues.by_label

    @property
    def nameable(self) -> Container[str]:
        """The labels that a client may name: also those of queues that may come."""
        return self._queues.nameable

    async def find(self, labels: Collection[str]) -> None:
        """Look for those of the queues that are not known; with no labels, wait until discovery has looked once.

        Raises:
            RedisUnavailableError: Redis did not answer in time, or the bridge is not running.
        """
        unknown = [label for label in labels if label not in self.labels and label in self.nameable]
        if not unknown and (labels or self._queues.is_scanned):
            return
        self._check_running()
        try:
            with anyio.fail_after(self.settings.join_seconds):
                await self._queues.scanned()
                await self._queues.find(unknown)
        except TimeoutError:
            raise RedisUnavailableError("Redis does not tell whether there is such a queue; ask again") from None

    async def queue(self, label: str, *, new: bool = False) -> Queue:
        """The queue of that label, which is looked for if it is not known; `new`: it need not be there.

        Raises:
            RequestError: `unknown-queue`, or `bad-queue`: BullMQ would refuse to make it.
            RedisUnavailableError: Redis did not answer in time, or the bridge is not running.
        """
        await self.find([label])
        queue = self._queues.by_label.get(label)
        if queue is not None:
            return queue
        if self._queues.discovery is None or not new or label not in self.nameable:
            raise RequestError(UNKNOWN_QUEUE.code, UNKNOWN_QUEUE.message)
        if ":" in label:
            raise RequestError("bad-queue", "the name of a new `queue` must hold no colon: BullMQ refuses it")
        return Queue(label, self._queues.discovery.prefix, label)

    def problems(self) -> Mapping[str, str]:
        """By label, why a queue is not being read; `*` is the bridge as a whole."""
        return {"*": NOT_RUNNING} if not self._tasks.are_running else self._queues.problems(anyio.current_time())

    def listener(self, on_overflow: Callable[[], None] | None) -> InProcessClient:
        """A client inside of this process. Raises RedisUnavailableError while the bridge is not running.

        `on_overflow` is as for `InProcessClient`.
        """
        self._check_running()
        return InProcessClient(self._clients, on_overflow)

    async def ask(self, question: Question[Answer]) -> Answer:
        """The answer to a question. Raises RedisUnavailableError, also while the bridge is not running."""
        self._check_running()
        return await self._store.ask(question)

    async def look_up(self, jobs: Collection[Job], *, results: bool) -> Found:
        """What Redis knows of `jobs`. Raises RedisUnavailableError, also while the bridge is not running."""
        self._check_running()
        store = self._result_store if results else self._store
        return (await store.look_up(by_queue(jobs))).found

    async def submit(self, queue: Queue, name: str, data: object, job_id: str, opts: Mapping[str, object]) -> None:
        """Add a job. Raises what `Submitter.add` raises."""
        await self._submitter.add(queue, name, data, job_id, opts)

    async def append_logs(self, records: Sequence[LogRecord]) -> None:
        """Write lines to the log. Raises what `Logs.append` raises."""
        await self._logs.append(records)
