"""What the HTTP endpoints use of the bridge: its queues, its connections to Redis, and clients inside this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from jobws.access.caller import ADDRESS, CALLER, payer_of
from jobws.bullmq.keys import Queue
from jobws.bullmq.snapshot import by_queue
from jobws.errors import RedisUnavailableError, RequestError
from jobws.protocol.messages import ItemError
from jobws.protocol.session import Session
from jobws.server.http.request import BodyLimits
from jobws.server.http.token_end import token_end
from jobws.server.jobs.trees import Trees
from jobws.server.websocket.in_process_client import InProcessClient
from jobws.server.websocket.rates import ITEMS_PER_MESSAGE
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Hashable, Iterable, Mapping, Sequence

    from starlette.types import Scope

    from jobws.access.identity import Identity
    from jobws.access.sights import AnySight
    from jobws.bullmq.actions import Actions
    from jobws.bullmq.payloads import Payloads
    from jobws.bullmq.snapshot import Found, Job
    from jobws.bullmq.store import RedisQuery, Store
    from jobws.bullmq.submit import Submitter
    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.privacy.rules import Privacy
    from jobws.protocol.log.records import LogRecord
    from jobws.server.authentication import Authentication, Sign
    from jobws.server.intervals import Intervals
    from jobws.server.jobs.queue_numbers import Numbers, QueueNumbers
    from jobws.server.jobs.queue_readers import Queues
    from jobws.server.jobs.retry_failed import FailedJobs
    from jobws.server.log.service import Logs
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks
    from jobws.server.websocket.clients import Clients
    from jobws.server.websocket.connection_limits import ConnectionLimits

Answer = TypeVar("Answer")

NOT_RUNNING: Final = "the bridge is mounted but not running: enter `bridge.running()` in the outer app's lifespan"
UNKNOWN_QUEUE: Final = ItemError("unknown-queue", "this bridge has no `queue` of that label; GET /queues lists them")


class Service:
    """The bridge as the HTTP endpoints use it. While the bridge is not running, most methods raise an error.

    Args:
        settings: The settings of the bridge.
        intervals: Times that are not settings.
        tasks: The tasks of the bridge.
        authentication: Says how long a token is accepted, and signs new ones.
        limits: Counts the connections of identities and addresses.
        queues: The queues that are read.
        clients: The clients of `/ws`. In-process clients belong to them.
        logs: The log.
        store: Answers queries to Redis. Subscriptions have another store, so HTTP requests do not delay them.
        result_store: Looks up jobs with their results, which may have megabytes.
        submitter: Adds jobs.
        actions: Acts on jobs and queues.
        failed_jobs: Retries all failed jobs of a queue.
        privacy: What clients are not shown.
        payloads: Makes the payloads of events.
        numbers: Reads the numbers of queues.

    Attributes:
        trees: Counts the jobs of flows.
    """

    def __init__(
        self,
        settings: Settings,
        intervals: Intervals,
        tasks: Tasks,
        authentication: Authentication,
        limits: ConnectionLimits,
        queues: Queues,
        clients: Clients[JobClient, PendingSubscription],
        logs: Logs,
        store: Store,
        result_store: Store,
        submitter: Submitter,
        actions: Actions,
        failed_jobs: FailedJobs,
        privacy: Privacy,
        payloads: Payloads,
        numbers: QueueNumbers,
    ) -> None:
        self.privacy = privacy
        self.payloads = payloads
        self.settings = settings
        self.intervals = intervals
        self.actions = actions
        self.failed_jobs = failed_jobs
        self.body_limits = BodyLimits(settings.max_body_bytes, intervals.body_seconds)
        self._tasks = tasks
        self._authentication = authentication
        self._limits = limits
        self._queues = queues
        self._clients = clients
        self._logs = logs
        self._store = store
        self._result_store = result_store
        self._submitter = submitter
        self._numbers = numbers
        self.trees = Trees(queues.by_label, store)

    def _check_running(self) -> None:
        if not self._tasks.are_running:
            raise RedisUnavailableError(NOT_RUNNING)

    @property
    def labels(self) -> Mapping[str, Queue]:
        """The queues that the bridge serves, by label; a live view."""
        return self._queues.by_label

    @property
    def nameable(self) -> Container[str]:
        """The labels that a client may name. With discovery, `in` is also true for queues that may be found later."""
        return self._queues.nameable

    async def find(self, labels: Collection[str]) -> None:
        """Have discovery look for those of the queues that are unknown, and wait until it has looked.

        If all are known, or there is no discovery, return immediately. If `labels` is empty, only wait until discovery
        has finished its first pass.

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
        """Return the queue with this label. If it is unknown, look for it first.

        Args:
            label: The queue's label.
            new: Whether the queue may be one that does not exist yet and that BullMQ will create.

        Raises:
            RequestError: `unknown-queue`; or `bad-queue` if BullMQ would refuse to create the queue.
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

    @property
    def takes_actions(self) -> bool:
        """Whether the bridge acts on jobs and queues: it has keys, so that tokens say who may, or `allow_actions`."""
        return self._authentication.required or self.settings.allow_actions

    @property
    def sign(self) -> Sign | None:
        """What signs tokens for new jobs; None if the bridge has no key for that."""
        return self._authentication.sign

    def problems(self) -> Mapping[str, str]:
        """Return, by label, why a queue is not being read. The dictionary is empty if all queues are.

        Other keys are those of `Queues.problems`. If the bridge is not running, the only key is `*`.
        """
        return {"*": NOT_RUNNING} if not self._tasks.are_running else self._queues.problems(anyio.current_time())

    def client(
        self, on_overflow: Callable[[], None] | None, identity: Identity, address: str | None
    ) -> InProcessClient:
        """Return a new client of `/ws` inside this process.

        Args:
            on_overflow: Called when the client's outbox has overflowed; None for no call. See `InProcessClient`.
            identity: Who sent the request.
            address: The address by which the client is limited. None: it is not limited by its address.

        Raises:
            RedisUnavailableError: The bridge is not running.
            RequestError: `rate-limited`. The identity or the address has too many connections.
        """
        self._check_running()
        client = InProcessClient(self._clients, on_overflow, identity)
        client.hub_client.charge_to(payer_of(identity, address))
        problem = self._limits.locate(client.hub_client, address)
        if self._authentication.required:
            problem = self._limits.identify(client.hub_client, identity) or problem
        if problem is not None:
            client.lost()
            raise RequestError("rate-limited", problem)
        return client

    async def rehearse(self, messages: Iterable[str], sight: AnySight) -> None:
        """Ask `sight` for every right that a new client of `/ws` needs for `hello` and for some messages.

        The answers are ignored, and so are malformed messages. The sight notes what it is asked, so its maker learns
        which checks an authorizer must decide. Other tasks run meanwhile: the messages of one body may take 0.4 s.
        """
        settings, turn = self.settings, Turn()
        session = Session(self.nameable, settings.max_message_bytes, settings.max_subscriptions, sight)
        self._clients.greeting.examine(sight)
        for each in messages:
            session.rehearse(each, sight)
            await turn.pause()

    async def close_with_token(self, client: InProcessClient) -> None:
        """Wait until the client's token is no longer accepted, and then close the client.

        If the token never ends, this waits until it is cancelled. If the bridge has neither keys nor a function
        `authenticate`, this returns immediately.
        """
        if self._authentication.required:
            client.hub_client.close(await token_end(self._authentication, client.latest_identity))

    async def ask(self, query: RedisQuery[Answer]) -> Answer:
        """Return Redis's answer to a query. Raises RedisUnavailableError, also while the bridge is not running."""
        self._check_running()
        return await self._store.ask(query)

    async def numbers(self, queue: Queue) -> Numbers:
        """Return the numbers of a queue. Raises RedisUnavailableError, also while the bridge is not running."""
        self._check_running()
        return await self._numbers.of(queue)

    async def ask_for_results(self, query: RedisQuery[Answer]) -> Answer:
        """Do what `ask` does, for an answer that may have megabytes, so that smaller ones need not wait for it."""
        self._check_running()
        return await self._result_store.ask(query)

    async def look_up(self, jobs: Collection[Job], *, results: bool) -> Found:
        """Return the snapshots of `jobs`, by queue and job id, with or without their results.

        A job that does not exist is None or absent. If Redis answers with an error for one job, an ItemError stands in
        place of its snapshot. The dictionary may also have jobs for which other callers asked at the same time.

        Raises RedisUnavailableError, also while the bridge is not running.
        """
        self._check_running()
        store = self._result_store if results else self._store
        return (await store.look_up(by_queue(jobs))).found

    async def submit(self, queue: Queue, name: str, data: object, job_id: str, opts: Mapping[str, object]) -> None:
        """Add a job. If the queue has a job with this id, BullMQ adds nothing. See `Submitter.add` for the arguments.

        Raises:
            MissingExtraError: BullMQ's package is not installed.
            RedisUnavailableError: Redis did not answer in time, or refused the job.
        """
        await self._submitter.add(queue, name, data, job_id, opts)

    async def slow_down(self, scope: Scope, items: int) -> None:
        """Charge the sender of a request for the items of a list, and wait until more may be taken from it."""
        payer = payer_of(scope[CALLER], scope[ADDRESS])
        await self._clients.rates.pace.slow_down(payer, items / ITEMS_PER_MESSAGE)

    def check_log_lines(self, payer: Hashable) -> None:
        """Check whether a payer may write lines to the log now, before a body with lines is parsed.

        Raises:
            RateLimitedError: The payer has written too many.
        """
        self._clients.rates.log_lines.charge(payer, 0, anyio.current_time())

    async def append_logs(self, records: Sequence[LogRecord], payer: Hashable) -> None:
        """Write lines to the log.

        Args:
            records: The lines.
            payer: Who is charged for them; None if they are not limited.

        Raises:
            RateLimitedError: The payer has written too many.
            RedisUnavailableError: Redis did not take all lines.
        """
        self._clients.rates.log_lines.charge(payer, len(records), anyio.current_time())
        await self._logs.append(records)
