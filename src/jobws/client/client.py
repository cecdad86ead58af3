"""The client: submit jobs, wait for their results, watch what happens to them."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from jobws.client import rest
from jobws.client.connection.reconnecting import Session, require_trio, running
from jobws.client.connection.token import Credentials, Token
from jobws.client.jobs.inbox import open_inbox
from jobws.client.jobs.iterators import Events, Outcomes
from jobws.client.jobs.subscriptions import Subscriptions
from jobws.errors import ClientError, RequestError, ResponseError
from jobws.protocol.identifiers import MAX_QUEUE_BYTES, is_text, parse_job_id
from jobws.protocol.messages import OUTCOMES, HelloData
from jobws.protocol.request_types import Room
from jobws.protocol.requests import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping

    from jobws.client.frames import JsonObject
    from jobws.protocol.http_resources import Submitted

# BullMQ's own ids are decimal numbers.
JobId: TypeAlias = str | int


class Client:
    """A bridge's client; make one with `connect`. It may be used by any number of tasks.

    While the connection is lost, it connects again by itself and resumes where it was: whoever waits does not notice,
    except that events may be missing if Redis no longer has them (`watch` then says `gap`). Once the bridge refuses
    this client, everything raises RefusedError.
    """

    def __init__(self, url: str, credentials: Credentials, session: Session[Subscriptions]) -> None:
        self._url = url
        self._credentials = credentials
        self._session = session

    @property
    def hello(self) -> HelloData:
        """What the bridge said of itself: its version, limits and queues."""
        if self._session.hello is None:
            raise ClientError("there was no connection yet")
        return self._session.hello

    async def wait(self, job_id: JobId, queue: str | None = None, *, expect: bool = False) -> object:
        """A job's result, at once if it has ended. Cancelling, as by a time limit, leaves the client usable.

        Args:
            job_id: The job.
            queue: The label of its queue; None: any queue, and the first outcome counts.
            expect: The job may not exist yet: it is about to be added.

        Returns:
            The job's return value: what JSON can hold.

        Raises:
            JobFailed: It failed, and will not be tried again.
            JobRemoved: It was removed, drained or obliterated before it had ended.
            JobUnknown: There is no such job, and no outcome of one. Never with `expect`.
            ResponseError: The bridge refused; `code` and message say why.
            RefusedError: The bridge refuses this client.
        """
        async with self.wait_many([job_id], queue, expect=expect) as outcomes:
            async for _, outcome in outcomes:
                if isinstance(outcome, ClientError):
                    raise outcome
                return outcome
        raise AssertionError("a job has one outcome")

    @asynccontextmanager
    async def wait_many(
        self, job_ids: Iterable[JobId], queue: str | None = None, *, expect: bool = False
    ) -> AsyncIterator[Outcomes]:
        """The outcomes of many jobs, each once, as they end.

        `async with jobs.wait_many(ids) as outcomes: async for job_id, outcome in outcomes: …`, where `outcome` is the
        result, or the exception that `wait` would raise. There may be more jobs than the bridge's limit of
        subscriptions: they then take turns, and an outcome may come some seconds late.

        Args:
            job_ids: The jobs; an id that stands twice counts once.
            queue: As for `wait`.
            expect: As for `wait`.

        Raises:
            ResponseError: An id or the queue can be none.
        """
        rooms = _rooms(job_ids, queue)
        with open_inbox(self._session, rooms, strict=not expect) as inbox:
            yield Outcomes(inbox, self.lookup)

    @asynccontextmanager
    async def watch(
        self,
        job_ids: JobId | Iterable[JobId],
        queue: str | None = None,
        events: Collection[str] | None = None,
        *,
        expect: bool = True,
        logs: bool = False,
    ) -> AsyncIterator[Events]:
        """What happens to a job, or to several, until the outcome of each: `async with … as events`, `async for`.

        Inside, the bridge has subscribed us: nothing that happens from here on is missed.

        Args:
            job_ids: The job, or the jobs.
            queue: The label of their queue; None: any queue, and the first outcome is the end.
            events: Names of events (protocol.md, E2), `*` for all; None: outcomes only, which always come.
            expect: False: a job that does not exist ends with an event `unknown`.
            logs: Also what the job's worker writes with `job.log()`, as events `job-log`, whose data have `lines`
                (protocol.md, E8): what there is (about the last 256 KiB), and the last lines before the outcome.

        Raises:
            ResponseError: The bridge refused a job; `code` and message say why.
            RefusedError: The bridge refuses this client.
        """
        rooms = _rooms([job_ids] if isinstance(job_ids, str | int) else job_ids, queue)
        with open_inbox(self._session, rooms, _names(events), strict=not expect, logs=logs) as inbox:
            watched = Events(inbox)
            await watched.answered(set(rooms))
            yield watched

    async def submit(
        self,
        queue: str,
        data: object,
        *,
        name: str | None = None,
        job_id: str | None = None,
        opts: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Add a job over HTTP; `jobws.client.rest.submit` says what the arguments mean and what is raised.

        Returns:
            `job_id` and `queue`, and `existing`: there was such a job already.
        """
        return await rest.submit(
            *(self._url, queue, data),
            name=name,
            job_id=job_id,
            opts=opts,
            idempotency_key=idempotency_key,
            token=await self._credentials.token(),
        )

    async def lookup(self, job_id: JobId, queue: str | None = None) -> list[JsonObject]:
        """Snapshots, with results, of the jobs of that id: one per queue that has it (protocol.md, S2); maybe none.

        Raises:
            UnreachableError: No bridge answers at that URL.
            RefusedError: The bridge refuses this client.
            ResponseError: `unknown-queue`, `bad-job-id` or `unavailable`.
        """
        try:
            return await rest.look_up(self._url, str(job_id), queue, token=await self._credentials.token())
        except ResponseError as error:
            if error.code == "unknown-job":
                return []
            raise


def _rooms(job_ids: Iterable[JobId], queue: str | None) -> list[Room]:
    # What is longer could end the connection, which others share.
    if queue is not None and not (is_text(queue) and len(queue.encode()) <= MAX_QUEUE_BYTES):
        raise ResponseError("bad-queue", f"`queue` must be valid Unicode text of at most {MAX_QUEUE_BYTES} bytes")
    rooms: dict[Room, None] = {}
    for job_id in job_ids:
        try:
            rooms[Room(queue, parse_job_id(job_id))] = None
        except RequestError as error:
            raise ResponseError(error.code, f"{job_id}: {error.message}") from None
    return list(rooms)


def _names(events: Collection[str] | None) -> frozenset[str] | None:
    """The events to hand out; None: all."""
    if events is None:
        return OUTCOMES
    if isinstance(events, str) or not all(
        is_text(event) and len(event.encode()) <= MAX_EVENT_BYTES for event in events
    ):
        raise ResponseError(
            "bad-events", f'`events` must be a list of names of at most {MAX_EVENT_BYTES} bytes, or ["*"]'
        )
    return None if "*" in events else frozenset(events)


@asynccontextmanager
async def connect(url: str, *, token: Token | None = None) -> AsyncIterator[Client]:
    """A client of the bridge whose base URL is `url`. Runs on trio; elsewhere there is `jobws.sync`.

    An exception of the context's body comes out as it is, never in a group.

    Args:
        url: http(s) or ws(s), with the path below which the bridge is.
        token: What opens the bridge, or a function, plain or async, that gets it: called before each connect, and when
            the bridge says that a token is about to expire. If it raises, everything raises ClientError.

    Raises:
        UnreachableError: Nothing there speaks jobws.v1. Only now: a connection that is lost later is made again.
        RefusedError: The bridge refuses this client.
        ClientError: This is no trio program, or the token can be none.
    """
    require_trio("jobws.sync.connect")
    credentials = Credentials(token)
    async with running(Session(url, credentials, Subscriptions(random.random), "/ws")) as session:
        yield Client(url, credentials, session)
