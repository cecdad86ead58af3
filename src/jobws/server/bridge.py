"""The bridge: everything put together, as one ASGI app with one lifespan."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
from msgspec import UNSET
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from jobws.bullmq.keys import parse_queues
from jobws.bullmq.store import Store
from jobws.bullmq.submit import Submitter
from jobws.errors import JobwsError
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.fanout import Fanout
from jobws.hub.jobs.rooms import Rooms
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.codec import Frame, encode
from jobws.protocol.messages import NAMED_QUEUES, PROTOCOL, Hello, HelloData, Limits
from jobws.protocol.session import Close, Session
from jobws.redis.connection import RedisTarget
from jobws.server.guard import Guard, with_cors
from jobws.server.http import health, openapi, static
from jobws.server.http import routes as http_routes
from jobws.server.http.problems import answer_error, answer_routing
from jobws.server.http.request import ExactPaths
from jobws.server.http.service import NOT_RUNNING, Service
from jobws.server.intervals import USUAL_INTERVALS
from jobws.server.jobs.job_log_poller import JobLinePolls
from jobws.server.jobs.queue_readers import Queues
from jobws.server.jobs.reading_back import ReadingBack
from jobws.server.jobs.subscribe import Subscribing
from jobws.server.jobs.sweep import Sweeper
from jobws.server.log.service import Logs
from jobws.server.metrics import Metrics
from jobws.server.settings import Settings
from jobws.server.supervisor import Health, supervise
from jobws.server.websocket.endpoint import Clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from anyio.abc import TaskGroup
    from starlette.responses import Response
    from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

    from jobws.hub.client import Client
    from jobws.hub.jobs.pending_subscription import PendingSubscription
    from jobws.server.intervals import Intervals

Answer = TypeVar("Answer")

SERVER: Final = f"jobws/{version('jobws')}"
RESTART: Final = Close(CloseCode.SERVICE_RESTART, "the bridge restarts")


class Bridge:
    """From BullMQ's streams to WebSockets.

    Args:
        settings: Every default is `Settings()`'s.
        intervals: How long it waits where no setting says it.

    Raises:
        ConfigurationError: The settings cannot work.

    Attributes:
        app: The ASGI app. It answers 503 unless `running` (or `lifespan`) is entered.
        fanout: Where events pass; its counters feed the metrics.
        service: What the HTTP endpoints need.
    """

    def __init__(self, settings: Settings | None = None, intervals: Intervals = USUAL_INTERVALS) -> None:
        self.settings = settings or Settings()
        self.target = RedisTarget(self.settings.redis)
        configured, discover = parse_queues(self.settings.queues, self.settings.prefix)
        self.fanout = Fanout(Rooms(self._note_listened), self.settings.max_result_bytes, time.perf_counter)
        self.queues = Queues(
            self.target,
            configured,
            self.settings.prefix if discover else None,
            self.settings.discover_seconds,
            self.settings.forget_seconds,
            self.fanout,
            intervals.streams,
        )
        self.clients: Clients[JobClient, PendingSubscription] = Clients(
            self._connect, self._subscribe, self._hello, self.settings
        )
        self.logs = Logs(self.target, self.settings, self._hello)
        self._store = Store(self.target, self.queues.by_label)
        # What is asked for over HTTP, megabytes of results or a thousand jobs, must not hold up the subscriptions.
        self._http_store = Store(self.target, self.queues.by_label)
        self._result_store = Store(self.target, self.queues.by_label, results=True)
        self._subscribing = Subscribing(self.fanout, self.queues, self._store, self._spawn, self.settings.join_seconds)
        self._reading_back = ReadingBack(self.fanout, self.queues, self._result_store, self._spawn)
        self._sweeper = Sweeper(
            self.fanout, self.queues, self._http_store, self.settings.sweep_seconds, intervals.sweep_seconds
        )
        # A worker's lines, perhaps megabytes, must not hold up other answers either.
        self._job_line_store = Store(self.target, self.queues.by_label)
        self._job_line_polls = JobLinePolls(
            self.fanout.job_lines, self.queues.by_label, self._job_line_store, intervals.job_log_hold_seconds
        )
        self._submitter = Submitter(self.target)
        self._tasks: TaskGroup | None = None
        self.service = Service(
            self.settings,
            intervals,
            lambda: self._tasks is not None,
            self.queues,
            self.clients,
            self.logs,
            self._http_store,
            self._result_store,
            self._submitter,
        )
        metrics = Metrics(self.fanout, self.queues, self.logs.hub, self._members)
        routes = [
            WebSocketRoute("/ws", self._websocket(self.clients)),
            WebSocketRoute("/logs", self._websocket(self.logs.clients)),
            *health.routes(self.service),
            Route("/metrics", metrics.answer),
            Route("/openapi.json", openapi.answer),
            *static.routes(),
            *http_routes.routes(self.service),
        ]
        handlers: Mapping[Any, ExceptionHandler] = {JobwsError: answer_error, HTTPException: answer_routing}
        inner = Starlette(routes=routes, lifespan=self.lifespan, exception_handlers=handlers)
        # It would send `/jobs/http/`, a job without an id, to `/jobs/http`, the job called "http".
        inner.router.redirect_slashes = False
        self.app: ASGIApp = Guard(with_cors(ExactPaths(inner), self.settings), self.settings)

    def _note_listened(self, queue: str | None) -> None:
        self.queues.note_listened(queue)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the queues and serve clients inside this context.

        Leaving it closes every WebSocket with 1012 and stops reading. Trouble with Redis never comes out of it.
        """
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(supervise, "the watch over the Redis master", self.target.watch, Health())
            tasks.start_soon(supervise, "the store", self._store.run, Health())
            tasks.start_soon(supervise, "the store of HTTP", self._http_store.run, Health())
            tasks.start_soon(supervise, "the store of results", self._result_store.run, Health())
            tasks.start_soon(supervise, "the store of jobs' lines", self._job_line_store.run, Health())
            tasks.start_soon(supervise, "the look at jobs' lines", self._job_line_polls.run, Health())
            tasks.start_soon(supervise, "the wait for jobs' lines", self._job_line_polls.give_up, Health())
            self.queues.start(tasks)
            tasks.start_soon(supervise, "the sweep", self._sweeper.run, Health())
            self.logs.start(tasks)
            try:
                yield
            finally:
                self._tasks = None
                self.logs.stop()
                self.close_all(RESTART)
                with anyio.move_on_after(self.settings.shutdown_seconds, shield=True):
                    await self._submitter.close()
                tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """`running` as Starlette and FastAPI want it: `FastAPI(lifespan=bridge.lifespan)`."""
        async with self.running():
            yield

    def close_all(self, why: Close) -> None:
        """Begin to end every client, over HTTP too; what waits for them still goes out."""
        for connection in self._members():
            connection.close(why)

    def _members(self) -> list[Client[Any, Any]]:
        return [*self.clients.connected, *self.logs.clients.connected]

    # ---- WebSocket ----

    def _websocket(self, clients: Clients[Any, Any]) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await (_not_running() if self._tasks is None else clients.serve)(scope, receive, send)

        # Starlette takes a function for a handler of its own WebSocket class; a plain ASGI app must be none.
        return _Asgi(serve)

    def _connect(self, wake: Callable[[], None]) -> JobClient:
        settings = self.settings
        session = Session(self.queues.nameable, settings.max_message_bytes, settings.max_subscriptions)
        limits = settings.max_subscriptions, settings.outbox_bytes
        return JobClient(session, self.fanout, self.queues.by_label, *limits, wake, self._reading_back.start)

    def _hello(self) -> Frame:
        settings = self.settings
        limits = Limits(settings.max_message_bytes, settings.max_frame_bytes, settings.max_subscriptions)
        named = tuple(islice(self.queues.by_label, NAMED_QUEUES))
        silent = tuple(label for label in named if label in self.fanout.without_events)
        count = len(self.queues.by_label)
        data = HelloData(PROTOCOL, SERVER, settings.ping_seconds, limits, named, silent or UNSET, count)
        return encode(Hello(data))

    def _subscribe(self, connection: JobClient, pending: PendingSubscription) -> None:
        if self._tasks is not None:
            self._subscribing.add(connection, pending)

    def _spawn(self, run: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(run, *args)


class _Asgi:
    """An ASGI app from a coroutine function, which Starlette would otherwise take for an endpoint."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _not_running() -> Response:
    return PlainTextResponse(f"{NOT_RUNNING}\n", 503)
