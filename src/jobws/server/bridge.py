"""The bridge: builds all parts and connects them, as one ASGI app with one lifespan."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from jobws.bullmq.actions import Actions
from jobws.bullmq.keys import are_names, parse_queues
from jobws.bullmq.package import Package
from jobws.bullmq.payloads import Payloads
from jobws.bullmq.store import Store
from jobws.bullmq.submit import Submitter
from jobws.errors import RequestError
from jobws.hub.jobs.fanout import Fanout
from jobws.hub.jobs.rooms import Rooms
from jobws.hub.jobs.signals import Signals
from jobws.hub.jobs.subscription_counts import SubscriptionCounts
from jobws.privacy.parse import parse_privacy
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.session import Close
from jobws.redis.connection import RedisTarget
from jobws.server.app import make_app, make_metrics_app
from jobws.server.authentication_choice import authentication_of
from jobws.server.authorized import Authorized
from jobws.server.authorizer import authorizer_of
from jobws.server.auto_reset_event import AutoResetEvent
from jobws.server.failed_auths import FailedAuths
from jobws.server.fair_turns import FairTurns
from jobws.server.gate import Gate
from jobws.server.http.service import Service
from jobws.server.intervals import USUAL_INTERVALS
from jobws.server.jobs.endpoint import JobEndpoint
from jobws.server.jobs.job_log_poller import JobLogPoller
from jobws.server.jobs.job_log_schedule import JobLogSchedule
from jobws.server.jobs.progress_timer import ProgressTimer
from jobws.server.jobs.queue_numbers import QueueNumbers
from jobws.server.jobs.queue_readers import Queues
from jobws.server.jobs.reading_back import ReadingBack
from jobws.server.jobs.retry_failed import FailedJobs
from jobws.server.jobs.stats_feed import StatsFeed
from jobws.server.jobs.sweep import Holes, Sweeper
from jobws.server.key_authentication import KeyAuthentication
from jobws.server.log.service import Logs
from jobws.server.metrics import Metrics
from jobws.server.reasking import Reasking
from jobws.server.settings import Settings
from jobws.server.tasks import Tasks
from jobws.server.websocket.admission import Admission
from jobws.server.websocket.clients import Clients
from jobws.server.websocket.connection_limits import ConnectionLimits
from jobws.server.websocket.hello import Greeting
from jobws.server.websocket.rates import rates_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobws.hub.client import Client
    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.server.authentication import Authentication
    from jobws.server.authorizer import Authorize
    from jobws.server.hook import Authenticate
    from jobws.server.intervals import Intervals

RESTART: Final = Close(CloseCode.SERVICE_RESTART, "the bridge restarts")


class Bridge:
    """Sends the events of BullMQ's streams to WebSocket clients.

    Args:
        settings: The settings. None means `Settings()`.
        intervals: Times that are not settings, such as how often files of keys are read again. See `Intervals`.
        authenticate: Says who a client is, in place of keys: an async function that takes the headers of a request (a
            mapping, with names in lower case) and its token (None: there is none), and returns an `Identity`, or None
            to refuse. It is also called for the request `authenticate` of a WebSocket, then with an empty mapping.
        authorize: Decides what clients may do, in place of the scopes of tokens: an async function that takes the
            `Identity`, the action (`read:jobs`, for instance), the queue and the job id, or None for them, and returns
            True to allow it.

    Raises:
        ConfigurationError: The settings cannot work, or keys cannot be read or fetched.

    Attributes:
        authentication: Verifies tokens.
        app: The ASGI app. It answers 503 outside the contexts `running` and `lifespan`.
        metrics_app: The ASGI app that serves the metrics alone, without a token, to the machine of the bridge.
        limited: Counts, by the name of the setting, what was refused for a limit.
        privacy: What clients are not shown.
        fanout: Publishes events to clients. Its counters feed the metrics.
        service: The parts of the bridge that the HTTP endpoints use.
        turns: Divides the time of the event loop between clients and events.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        intervals: Intervals = USUAL_INTERVALS,
        *,
        authenticate: Authenticate | None = None,
        authorize: Authorize | None = None,
    ) -> None:
        self.settings = settings = settings or Settings()
        self.target = RedisTarget(settings.redis)
        configured, discover = parse_queues(settings.queues, settings.prefix)
        self.privacy = privacy = parse_privacy(
            settings.redact,
            settings.no_results,
            settings.show_data,
            settings.show_stacktraces,
            {queue.label: queue.name for queue in configured},
            discovers=discover,
        )
        payloads = Payloads(settings.max_result_bytes, privacy)
        self._tasks, self.turns = Tasks(), FairTurns(time.perf_counter)
        verified = authentication_of(settings, intervals, authenticate, authorize)
        self._keys = verified if isinstance(verified, KeyAuthentication) else None
        holes, job_logs = Holes(), JobLogSchedule(intervals.job_log_hold_seconds)
        stats_wanted, self._progress = AutoResetEvent(), AutoResetEvent()
        self.fanout = Fanout(
            # The only dependency in a circle: subscriptions decide which queues are read, and what is read goes to the
            # subscriptions.
            Rooms(lambda queue: self.queues.note_listened(queue)),
            payloads,
            time.perf_counter,
            Signals(holes.note, job_logs.make_due, job_logs.set_deadlines, stats_wanted.set, self._progress.set),
            settings.progress_ms / 1000,
        )
        self.queues = Queues(
            self.target,
            configured,
            settings.prefix if discover else None,
            settings.discover_seconds,
            settings.forget_seconds,
            self.fanout,
            intervals.streams,
        )
        labels = self.queues.by_label
        self.authentication: Authentication = verified
        self._reasking: Reasking | None = None
        asked: Counter[str] | None = None
        if (authorizer := authorizer_of(settings, authorize)) is not None:
            gate = Gate(authorizer, labels, self._scanned)
            asked = gate.counts
            self.authentication = Authorized(verified, gate)
            self._reasking = Reasking(gate, labels, self._members, self.fanout.doubt, self._tasks)
        self._store = Store(self.target, labels, privacy)
        # Apart from each other, so that megabytes of results or log lines, or a thousand jobs, delay no subscriptions.
        self._result_store = Store(self.target, labels, privacy, results=True)
        self._http_store, self._flow_store, self._job_log_store = (Store(self.target, labels, privacy) for _ in "123")
        self._job_log_poller = JobLogPoller(self.fanout.job_logs, labels, privacy, self._job_log_store, job_logs)
        self._sweeper = Sweeper(
            self.fanout, self.queues, self._http_store, holes, settings.sweep_seconds, intervals.sweep_seconds
        )
        numbers = QueueNumbers(self.fanout, self._http_store, self.target.db, intervals.workers_seconds)
        self._stats_feed = StatsFeed(self.fanout, labels, numbers, stats_wanted, settings.queue_stats_seconds)
        self._reading_back = ReadingBack(self.fanout, self.queues, self._result_store, self._tasks.spawn)
        greeting = Greeting(settings, labels, self.fanout.without_events)
        self.limited = limited = Counter[str]()
        failed_auths = FailedAuths(settings.failed_auths_per_minute, limited)
        limits = ConnectionLimits(settings, limited)
        self._admission = Admission(self.authentication, greeting, settings, self._tasks, limits, failed_auths.note)
        endpoint = JobEndpoint(
            settings,
            self.fanout,
            self.queues,
            self._store,
            self._flow_store,
            intervals.flow_seconds,
            self._reading_back,
            self._tasks,
            SubscriptionCounts(settings.max_subscriptions_per_identity, limited),
            self.turns,
        )
        rates = rates_of(settings, limited)
        self.clients: Clients[JobClient, PendingSubscription] = Clients(
            endpoint, settings, self._admission, greeting, rates, self.turns
        )
        self.logs = Logs(
            self.target,
            settings,
            self._admission,
            greeting,
            rates,
            self.turns,
            self._tasks,
            privacy,
            by_queue=are_names(configured, settings.prefix if discover else None),
        )
        self._package = Package(self.target)
        actions = Actions(self._package)
        self.service = Service(
            settings,
            intervals,
            self._tasks,
            self.authentication,
            limits,
            self.queues,
            self.clients,
            self.logs,
            self._http_store,
            self._result_store,
            Submitter(self._package),
            actions,
            FailedJobs(actions, self._tasks),
            privacy,
            payloads,
            numbers,
        )
        metrics = Metrics(self.fanout, self.queues, self.logs.hub, self._members, self.authentication, limited, asked)
        self.metrics_app = make_metrics_app(settings, metrics)
        websockets: dict[str, Clients[Any, Any]] = {"/ws": self.clients, "/logs": self.logs.clients}
        self.app = make_app(
            settings,
            self.authentication,
            failed_auths,
            rates,
            self.service,
            metrics,
            websockets,
            self._tasks,
            self.lifespan,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the queues and serve clients inside this context.

        Leaving the context closes every WebSocket with 1012 and stops reading. Errors of Redis never leave the context:
        the bridge waits until Redis works again.
        """
        async with anyio.create_task_group() as group:
            self._tasks.begin(group)
            self._tasks.spawn_supervised("the watch over the Redis master", self.target.watch)
            self._tasks.spawn_supervised("the store", self._store.run)
            self._tasks.spawn_supervised("the store of HTTP", self._http_store.run)
            self._tasks.spawn_supervised("the store of results", self._result_store.run)
            self._tasks.spawn_supervised("the store of flows", self._flow_store.run)
            self._tasks.spawn_supervised("the store of job logs", self._job_log_store.run)
            self._tasks.spawn_supervised("the poll of job logs", self._job_log_poller.run)
            self._tasks.spawn_supervised("the wait for job logs", self._job_log_poller.give_up)
            self.queues.start(group)
            self._tasks.spawn_supervised("the progress that is held", ProgressTimer(self.fanout, self._progress).run)
            self._tasks.spawn_supervised("the sweep", self._sweeper.run)
            self._tasks.spawn_supervised("the numbers of queues", self._stats_feed.run)
            self.logs.start()
            if self.authentication.required:
                self._tasks.spawn_supervised("the tokens of WebSockets", self._admission.run)
            if self._keys is not None:
                self._tasks.spawn_supervised("the look at the files of keys", self._keys.run)
            if self._reasking is not None:
                self._tasks.spawn_supervised("the questions to the authorizer", self._reasking.run)
            try:
                yield
            finally:
                self._tasks.end()
                self.close_all(RESTART)
                with anyio.move_on_after(self.settings.shutdown_seconds, shield=True):
                    await self._package.close()
                group.cancel_scope.cancel()

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Do what `running` does. Starlette and FastAPI take this form: `FastAPI(lifespan=bridge.lifespan)`."""
        async with self.running():
            yield

    def close_all(self, why: Close) -> None:
        """Begin to close every client, also those over HTTP. Frames that already wait for a client are still sent."""
        for client in self._members():
            client.close(why)

    async def _scanned(self) -> None:
        """Wait until discovery has found the queues that there are. Raises RequestError if this takes too long."""
        try:
            with anyio.fail_after(self.settings.join_seconds):
                await self.queues.scanned()
        except TimeoutError:
            raise RequestError("unavailable", "Redis does not tell which queues there are; ask again") from None

    def _members(self) -> list[Client[Any, Any]]:
        return [*self.clients.connected, *self.logs.clients.connected]
