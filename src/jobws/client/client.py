"""`connect`, and the `Client` that it returns: submits jobs, waits for their results, and watches their events."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

from jobws.client import rest
from jobws.client.connection.reconnecting import Session, require_trio, running
from jobws.client.connection.token import Credentials, Token
from jobws.client.jobs.inbox import Inbox
from jobws.client.jobs.iterators import Events, Outcomes
from jobws.client.jobs.subscriptions import Subscriptions
from jobws.client.jobs.whole_queues import WatchesQueues, require_label
from jobws.errors import ClientError, RequestError, ResponseError
from jobws.protocol.identifiers import is_text, parse_job_id
from jobws.protocol.messages import OUTCOMES, HelloData
from jobws.protocol.request_fields import MAX_EVENT_BYTES
from jobws.protocol.request_types import Room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping

    from jobws.client.frames import JsonObject
    from jobws.protocol.http_resources import Acted, ActionName, Submitted

JobId: TypeAlias = str | int  # BullMQ's own ids are decimal numbers


class Client(WatchesQueues):
    """A client of one bridge; `connect` makes it. Any number of tasks may use it.

    After a lost connection the client reconnects and continues where it was. Waiting tasks do not notice this, except
    that events are missing if Redis no longer has them; `watch` then yields `gap`. When the bridge refuses this client,
    each call raises RefusedError.
    """

    def __init__(self, url: str, credentials: Credentials, session: Session[Subscriptions]) -> None:
        self._url = url
        self._credentials = credentials
        self._session = session

    @property
    def hello(self) -> HelloData:
        """The bridge's version, limits and queues, as of the latest connection. Raises ClientError before the first."""
        if self._session.hello is None:
            raise ClientError("there was no connection yet")
        return self._session.hello

    async def wait(self, job_id: JobId, queue: str | None = None, *, expect: bool = False) -> object:
        """Wait for a job to end, and return its result. If the job has already ended, return immediately.

        Cancelling, for example by a time limit, is safe: the client can still be used.

        Args:
            job_id: The id of the job.
            queue: The label of the job's queue. None means any queue; the first outcome counts.
            expect: Whether to wait for the job to be added if it does not exist.

        Returns:
            The worker's return value, decoded from JSON.

        Raises:
            JobFailed: The job failed, and will not be tried again.
            JobRemoved: The job was removed before it ended, alone or with its queue.
            JobUnknown: Redis has neither the job nor its outcome. Never raised with `expect`.
            ResponseError: The bridge refused the request; `code` and message say why.
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
        """Wait for many jobs. Yield each outcome once, as the jobs end.

        `async with jobs.wait_many(ids) as outcomes: async for job_id, outcome in outcomes: …`. An `outcome` is the
        result, or the exception that `wait` would raise; the loop itself raises none. If there are more jobs than the
        bridge's limit of subscriptions, the jobs take turns, and an outcome may come some seconds late.

        Args:
            job_ids: The ids of the jobs. Duplicates count once.
            queue: As for `wait`.
            expect: As for `wait`.

        Raises:
            ResponseError: A job id or the label of the queue is malformed.
        """
        rooms = _rooms(job_ids, queue)
        with Inbox(self._session, rooms, strict=not expect) as inbox:
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
        children: bool = False,
    ) -> AsyncIterator[Events]:
        """Yield the events of one job or several, up to the outcome of each.

        `async with jobs.watch(id, events=["progress"]) as events: async for event in events: …`. Entering the context
        waits until the bridge has subscribed the client. The client gets every event from then on.

        Args:
            job_ids: The id of the job, or the ids of the jobs.
            queue: The label of the jobs' queue. None means any queue; the first outcome ends a job.
            events: The names of events besides outcomes (protocol.md, E2); `*` means all. None means outcomes only.
            expect: Whether to wait for jobs that do not exist yet. If not, such a job ends with an event `unknown`.
            logs: Whether to yield also what the job's worker writes with `job.log()`, as events `job-log` with `lines`
                in their data (protocol.md, E8). Existing lines come first, about the last 256 KiB. The last lines come
                before the outcome.
            children: Whether to yield also the events of all jobs below in the flow of each job, as events with
                `parent`. Needs `queue`, and goes without `logs` (protocol.md, S13).

        Raises:
            ResponseError: The bridge refused a job; `code` and message say why.
            RefusedError: The bridge refuses this client.
        """
        rooms = _rooms([job_ids] if isinstance(job_ids, str | int) else job_ids, queue)
        with Inbox(self._session, rooms, _names(events), strict=not expect, logs=logs, children=children) as inbox:
            watched = Events(inbox)
            await watched.answered(len(rooms))
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
        """Add a job, over HTTP.

        Cancelling returns immediately, but the job may still be added. A job with `job_id` or `idempotency_key` can
        safely be submitted again.

        Args:
            queue: The label of the queue.
            data: The job's data: any JSON value.
            name: The job's name. None means `job`.
            job_id: The job's id: no integer, and no colon in it. None means an id made from the key, or a random one.
            opts: BullMQ's options, as far as the bridge allows them (protocol.md, H2).
            idempotency_key: Submits to one queue, with the same key and token holder and no `job_id`, add only one job.

        Returns:
            `job_id`, `queue`, and `existing`: whether the job existed before; UNSET if the client may not read the job.

        Raises:
            UnreachableError: No bridge answers at that URL.
            RefusedError: The bridge refuses this client.
            ResponseError: The bridge refuses this job; `code` and message say why.
        """
        return await rest.submit(
            *(self._url, queue, data, await self._credentials.headers()),
            name=name,
            job_id=job_id,
            opts=opts,
            idempotency_key=idempotency_key,
        )

    async def lookup(
        self, job_id: JobId, queue: str | None = None, event: str | None = None, *, children: bool = False
    ) -> list[JsonObject]:
        """Return a snapshot (protocol.md, S2), with the result, of the job in each queue that has it; [] if none has.

        With `queue`, only this queue counts. With `event`, the `id` of an event of the job, return a list with this
        event alone, whole, in place of snapshots (H11). With `children`, the snapshot counts the jobs below the job in
        its flow, as `tree` (S13). `event` and `children` need `queue`, and exclude each other.

        Raises:
            UnreachableError: No bridge answers at that URL.
            RefusedError: The bridge refuses this client.
            ResponseError: `unknown-queue`, `bad-job-id`, `bad-data`, `unavailable`, or `gone`: Redis no longer has the
                event.
        """
        headers = await self._credentials.headers()
        try:
            return await rest.look_up(self._url, str(job_id), queue, headers, event=event, children=children)
        except ResponseError as error:
            if error.code == "unknown-job":
                return []
            raise

    async def act(
        self, action: ActionName, queue: str, job_id: JobId | None = None, *, children: bool = False
    ) -> Acted:
        """Act on a job or a queue, over HTTP (protocol.md, H12). If this call is cancelled, the bridge may still act.

        Args:
            action: `retry`, `promote` or `remove` for a job; `retry-failed`, `pause` or `resume` for a queue.
            queue: The label of the queue.
            job_id: The id of the job; None for an action on the queue.
            children: Whether `remove` also removes the jobs below it in its flow. Other actions fail (`bad-data`).

        Returns:
            `queue`; `job_id`, UNSET after an action on the queue; and `failed`, how many failed jobs are retried, UNSET
            after any action but `retry-failed`.

        Raises:
            UnreachableError: No bridge answers at that URL.
            RefusedError: The bridge refuses this client, or takes no actions.
            ResponseError: `unknown-job`, `locked` or `bad-state-for-action`, for instance; code and message say why.
        """
        job, headers = None if job_id is None else str(job_id), await self._credentials.headers()
        return await rest.act(self._url, action, queue, job, headers, children=children)


def _rooms(job_ids: Iterable[JobId], queue: str | None) -> list[Room]:
    if queue is not None:
        require_label(queue)
    rooms: dict[Room, None] = {}
    for job_id in job_ids:
        try:
            rooms[Room(queue, parse_job_id(job_id))] = None
        except RequestError as error:
            raise ResponseError(error.code, f"{job_id}: {error.message}") from None
    return list(rooms)


def _names(events: Collection[str] | None) -> frozenset[str] | None:
    """Turn `events` of `watch` into those of `Watch`: None into `OUTCOMES`, a `*` into None (all); other names stay."""
    if events is None:
        return OUTCOMES
    fit = [is_text(event) and len(event.encode()) <= MAX_EVENT_BYTES for event in events]
    if isinstance(events, str) or not all(fit):
        expected = f'a list of names of at most {MAX_EVENT_BYTES} bytes, or ["*"]'
        raise ResponseError("bad-events", f"`events` must be {expected}")
    return None if "*" in events else frozenset(events)


@asynccontextmanager
async def connect(url: str, *, token: Token | None = None) -> AsyncIterator[Client]:
    """Connect to a bridge. This works in programs on trio; others use `jobws.sync`.

    An exception in the context is raised as it is, never in an exception group.

    Args:
        url: The bridge's base URL, http(s) or ws(s), with the path below which the bridge is mounted.
        token: The token for the bridge, None for none, or a function that returns it: async, or plain if it does not
            block. The function is called for each connection and HTTP request, and when the bridge says that the token
            is about to expire. If the function raises, ClientError is raised: by `submit`, `lookup` or `act` if it
            called it, otherwise by every `wait` and `watch` from then on. `wait_many` yields it as the outcome.

    Raises:
        UnreachableError: No bridge at this URL speaks jobws.v1. Only raised for the first connection; later ones are
            tried again.
        RefusedError: The bridge refuses this client.
        ClientError: The program does not run on trio, or the token is malformed.
    """
    require_trio("jobws.sync.connect")
    credentials = Credentials(token)
    async with running(Session(url, credentials, Subscriptions(random.random), "/ws")) as session:
        yield Client(url, credentials, session)
