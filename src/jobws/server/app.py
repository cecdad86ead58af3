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

from jobws.bullmq.connect import RedisTarget
from jobws.bullmq.keys import Queue, parse_queues
from jobws.bullmq.schedule import USUAL_PAUSES
from jobws.bullmq.snapshot import by_queue
from jobws.bullmq.store import Store
from jobws.bullmq.submit import Submitter
from jobws.errors import JobwsError, RedisUnavailableError, RequestError
from jobws.hub.connection import Connection
from jobws.hub.fanout import Fanout
from jobws.hub.rooms import Rooms
from jobws.protocol.close import CloseCode
from jobws.protocol.codec import Frame, encode
from jobws.protocol.messages import NAMED_QUEUES, PROTOCOL, Hello, HelloData, Limits
from jobws.protocol.resources import Readiness
from jobws.protocol.session import Close, Session
from jobws.server import adapter, http, openapi
from jobws.server.auth import Guard, with_cors
from jobws.server.http_request import ExactPaths, json_answer
from jobws.server.job_line_polls import JobLinePolls
from jobws.server.joins import Joins
from jobws.server.listening import Listener
from jobws.server.logs import Logs
from jobws.server.metrics import Metrics
from jobws.server.problems import answer_error, answer_routing
from jobws.server.queues import Queues
from jobws.server.reading_back import ReadingBack
from jobws.server.service import UNKNOWN_QUEUE
from jobws.server.settings import Settings
from jobws.server.supervise import Health, supervise
from jobws.server.sweep import Sweeper
from jobws.server.websocket import Clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Container, Coroutine, Mapping, Sequence

    from anyio.abc import TaskGroup
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

    from jobws.bullmq.schedule import Pauses
    from jobws.bullmq.snapshot import Found, Job
    from jobws.bullmq.store import Question
    from jobws.hub.joining import Join
    from jobws.hub.peer import Peer
    from jobws.protocol.log_records import LogRecord

Answer = TypeVar("Answer")

SERVER: Final = f"jobws/{version('jobws')}"
NOT_RUNNING: Final = "the bridge is mounted but not running: enter `bridge.running()` in the outer app's lifespan"
RESTART: Final = Close(CloseCode.SERVICE_RESTART, "the bridge restarts")


class Bridge:
    """From BullMQ's streams to WebSockets.

    Args:
        settings: Every default is `Settings()`'s.
        pauses: How long the listeners of Redis wait for what.

    Raises:
        ConfigurationError: The settings cannot work.

    Attributes:
        app: The ASGI app. It answers 503 unless `running` (or `lifespan`) is entered.
        fanout: Where events pass; its counters feed the metrics.
    """

    def __init__(self, settings: Settings | None = None, pauses: Pauses = USUAL_PAUSES) -> None:
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
            pauses,
        )
        self.clients: Clients[Connection, Join] = Clients(self._connect, self._join, self._hello, self.settings)
        self.logs = Logs(self.target, self.settings, self._hello)
        self._store = Store(self.target, self.queues.by_label)
        # What is asked for over HTTP, megabytes of results or a thousand jobs, must not hold up the subscriptions.
        self._http_store = Store(self.target, self.queues.by_label)
        self._result_store = Store(self.target, self.queues.by_label, results=True)
        self._joins = Joins(self.fanout, self.queues, self._store, self._spawn, self.settings.join_seconds)
        self._reading_back = ReadingBack(self.fanout, self.queues, self._result_store, self._spawn)
        self._sweeper = Sweeper(self.fanout, self.queues, self._http_store, self.settings.sweep_seconds)
        # A worker's lines, perhaps megabytes, must not hold up other answers either.
        self._job_line_store = Store(self.target, self.queues.by_label)
        self._job_line_polls = JobLinePolls(self.fanout.job_lines, self.queues.by_label, self._job_line_store)
        self._submitter = Submitter(self.target)
        self._tasks: TaskGroup | None = None
        metrics = Metrics(self.fanout, self.queues, self.logs.hub, self._members)
        routes = [
            WebSocketRoute("/ws", self._websocket(self.clients)),
            WebSocketRoute("/logs", self._websocket(self.logs.clients)),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", metrics.answer),
            Route("/openapi.json", openapi.answer),
            *adapter.routes(),
            *http.routes(self),
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

    def _members(self) -> list[Peer[Any, Any]]:
        return [*self.clients.connected, *self.logs.clients.connected]

    # ---- WebSocket ----

    def _websocket(self, clients: Clients[Any, Any]) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            await (_not_running() if self._tasks is None else clients.serve)(scope, receive, send)

        # Starlette takes a function for a handler of its own WebSocket class; a plain ASGI app must be none.
        return _Asgi(serve)

    def _connect(self, wake: Callable[[], None]) -> Connection:
        settings = self.settings
        session = Session(self.queues.nameable, settings.max_message_bytes, settings.max_subscriptions)
        limits = settings.max_subscriptions, settings.outbox_bytes
        return Connection(session, self.fanout, self.queues.by_label, *limits, wake, self._reading_back.start)

    def _hello(self) -> Frame:
        settings = self.settings
        limits = Limits(settings.max_message_bytes, settings.max_frame_bytes, settings.max_subscriptions)
        named = tuple(islice(self.queues.by_label, NAMED_QUEUES))
        silent = tuple(label for label in named if label in self.fanout.without_events)
        count = len(self.queues.by_label)
        data = HelloData(PROTOCOL, SERVER, settings.ping_seconds, limits, named, silent or UNSET, count)
        return encode(Hello(data))

    def _join(self, connection: Connection, join: Join) -> None:
        if self._tasks is not None:
            self._joins.add(connection, join)

    def _spawn(self, run: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        if self._tasks is not None:
            self._tasks.start_soon(run, *args)

    # ---- HTTP ----

    @property
    def labels(self) -> Mapping[str, Queue]:
        """The queues that are known, by label; a live view."""
        return self.queues.by_label

    @property
    def nameable(self) -> Container[str]:
        """The labels that a client may name: also those of queues that may come."""
        return self.queues.nameable

    async def find(self, labels: Collection[str]) -> None:
        """Look for those of the queues that are not known; with no labels, wait until discovery has looked once.

        Raises:
            RedisUnavailableError: Redis did not answer in time, or the bridge is not running.
        """
        unknown = [label for label in labels if label not in self.labels and label in self.nameable]
        if not unknown and (labels or self.queues.is_scanned):
            return
        if self._tasks is None:
            raise RedisUnavailableError(NOT_RUNNING)
        try:
            with anyio.fail_after(self.settings.join_seconds):
                await self.queues.scanned()
                await self.queues.find(unknown)
        except TimeoutError:
            raise RedisUnavailableError("Redis does not tell whether there is such a queue; ask again") from None

    async def queue(self, label: str, *, new: bool = False) -> Queue:
        """The queue of that label, which is looked for if it is not known; `new`: it need not be there.

        Raises:
            RequestError: `unknown-queue`, or `bad-queue`: BullMQ would refuse to make it.
            RedisUnavailableError: Redis did not answer in time, or the bridge is not running.
        """
        await self.find([label])
        queue = self.queues.by_label.get(label)
        if queue is not None:
            return queue
        if self.queues.discovery is None or not new or label not in self.nameable:
            raise RequestError(UNKNOWN_QUEUE.code, UNKNOWN_QUEUE.message)
        if ":" in label:
            raise RequestError("bad-queue", "the name of a new `queue` must hold no colon: BullMQ refuses it")
        return Queue(label, self.queues.discovery.prefix, label)

    def problems(self) -> Mapping[str, str]:
        """By label, why a queue is not being read; `*` is the bridge as a whole."""
        return {"*": NOT_RUNNING} if self._tasks is None else self.queues.problems(anyio.current_time())

    def listener(self) -> Listener:
        """A client inside of this process. Raises RedisUnavailableError while the bridge is not running."""
        if self._tasks is None:
            raise RedisUnavailableError(NOT_RUNNING)
        return Listener(self.clients)

    async def ask(self, question: Question[Answer]) -> Answer:
        """The answer to a question. Raises RedisUnavailableError, also while the bridge is not running."""
        if self._tasks is None:
            raise RedisUnavailableError(NOT_RUNNING)
        return await self._http_store.ask(question)

    async def look_up(self, jobs: Collection[Job], *, results: bool) -> Found:
        """What Redis knows of `jobs`. Raises RedisUnavailableError, also while the bridge is not running."""
        if self._tasks is None:
            raise RedisUnavailableError(NOT_RUNNING)
        store = self._result_store if results else self._http_store
        return (await store.look_up(by_queue(jobs))).found

    async def submit(self, queue: Queue, name: str, data: object, job_id: str, opts: Mapping[str, object]) -> None:
        """Add a job. Raises what `Submitter.add` raises."""
        await self._submitter.add(queue, name, data, job_id, opts)

    async def append_logs(self, records: Sequence[LogRecord]) -> None:
        """Write lines to the log. Raises what `Logs.append` raises."""
        await self.logs.append(records)

    # ---- health ----

    async def _healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, _request: Request) -> Response:
        problems = self.problems()
        named = dict(islice(problems.items(), NAMED_QUEUES))
        readiness = Readiness(not problems, named, len(problems) - len(named) or UNSET)
        return json_answer(readiness, 503 if problems else 200)


class _Asgi:
    """An ASGI app from a coroutine function, which Starlette would otherwise take for an endpoint."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _not_running() -> Response:
    return PlainTextResponse(f"{NOT_RUNNING}\n", 503)
