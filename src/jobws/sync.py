"""The Python client without `await`: for notebooks, scripts, and programs on asyncio.

    with jobws.sync.connect("http://127.0.0.1:8787") as jobs:
        job = jobs.submit("techstack", {"path": "."})
        print(jobs.wait(job.job_id, job.queue, timeout_s=60))

    with jobws.sync.connect_logs("http://127.0.0.1:8787", level="warning") as lines:
        for line in lines:
            print(line.message)

This module runs `jobws.client` on an event loop in a thread of its own, so it works whether or not the caller has a
loop. Every method may be called from any thread, and blocks this thread until it returns. Ctrl-C ends a call, and what
the call does in the client's thread. In asyncio, use `await asyncio.to_thread(jobs.wait, job_id)`.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from jobws.client import connect as connect_async
from jobws.client import connect_logs as connect_logs_async
from jobws.protocol.requests import EVERY_QUEUE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Generator, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from jobws.client import Client, Event, LogLine
    from jobws.client.client import JobId
    from jobws.client.connection.token import Token
    from jobws.client.frames import JsonObject
    from jobws.client.log.iterator import Names
    from jobws.protocol.http_resources import Acted, ActionName, Submitted
    from jobws.protocol.messages import HelloData

Value = TypeVar("Value")


class Jobs:
    """A client of one bridge; `connect` makes it. Its methods raise what those of `jobws.client.Client` raise."""

    def __init__(self, portal: BlockingPortal, client: Client, close: Callable[[], None]) -> None:
        self._portal = portal
        self._client = client
        self._close = close
        # Closing later would deadlock: the interpreter would wait for a thread that it has already stopped.
        atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and end the client's thread. Calling it again does nothing."""
        atexit.unregister(self.close)
        self._close()

    @property
    def hello(self) -> HelloData:
        """The bridge's version, limits and queues, as sent on the latest connection, whether or not it is open now."""
        return self._client.hello

    def submit(
        self,
        queue: str,
        data: object,
        *,
        name: str | None = None,
        job_id: str | None = None,
        opts: Mapping[str, object] | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Add a job; see `Client.submit`."""
        call = partial(self._client.submit, queue, data, name=name, job_id=job_id, opts=opts)
        return _call(self._portal, partial(call, idempotency_key=idempotency_key))

    def lookup(
        self, job_id: JobId, queue: str | None = None, event: str | None = None, *, children: bool = False
    ) -> list[JsonObject]:
        """Return a snapshot of the job, with its result, from each queue that has the job; [] if none has.

        `event` asks for one event, whole, and `children` for a `tree` in the snapshot; see `Client.lookup`.
        """
        return _call(self._portal, partial(self._client.lookup, job_id, queue, event, children=children))

    def act(self, action: ActionName, queue: str, job_id: JobId | None = None, *, children: bool = False) -> Acted:
        """Act on a job or a queue. With `children`, `remove` also removes the jobs below; see `Client.act`."""
        return _call(self._portal, partial(self._client.act, action, queue, job_id, children=children))

    def wait(
        self, job_id: JobId, queue: str | None = None, *, timeout_s: float | None = None, expect: bool = False
    ) -> object:
        """Wait for a job to end, and return its result; see `Client.wait`.

        Args:
            job_id: The id of the job.
            queue: The label of the job's queue. None means any queue; the first outcome in any of them counts.
            timeout_s: The longest time to wait, in seconds. None means no limit.
            expect: Whether to wait for the job to be added if it does not exist.

        Raises:
            TimeoutError: The job had not ended after `timeout_s`.
            JobFailed: The job failed, and will not be tried again.
            JobRemoved: The job was removed before it ended, alone or with its queue.
            JobUnknown: Redis has neither the job nor its outcome. Never raised with `expect`.
            ResponseError: The bridge refused the request; `code` and message say why.
            RefusedError: The bridge refuses this client.
        """

        async def wait() -> object:
            with trio.fail_after(_seconds(timeout_s)):
                return await self._client.wait(job_id, queue, expect=expect)

        try:
            return _call(self._portal, wait)
        except trio.TooSlowError:
            raise TimeoutError(f"job {job_id} had not ended after {timeout_s:g} s") from None

    def wait_many(
        self,
        job_ids: Iterable[JobId],
        queue: str | None = None,
        *,
        timeout_s: float | None = None,
        expect: bool = False,
    ) -> Iterator[tuple[str, object]]:
        """Wait for many jobs. As they end, yield each id with the result, or the exception that `wait` would raise.

        Args:
            job_ids: The ids of the jobs. Duplicates count once.
            queue: As for `wait`.
            timeout_s: The longest time to wait for all jobs together, in seconds from this call on; None: no limit.
            expect: As for `wait`.

        Raises:
            TimeoutError: Not all jobs had ended after `timeout_s`.
        """
        deadline = _call(self._portal, partial(_deadline, timeout_s))
        outcomes = _Stream(self._portal, self._client.wait_many(job_ids, queue, expect=expect))
        return _each(outcomes, deadline)

    def watch(
        self,
        job_ids: JobId | Iterable[JobId],
        queue: str | None = None,
        events: Collection[str] | None = None,
        *,
        expect: bool = True,
        logs: bool = False,
        children: bool = False,
    ) -> Iterator[Event]:
        """Yield the events of one job or of several, up to the outcome of each job; see `Client.watch`.

        The client gets every event that happens after this call has returned. The subscription ends when the iterator
        is closed, which Python does after a loop that ends early.
        """
        wanted = {"expect": expect, "logs": logs, "children": children}
        stream = _Stream(self._portal, self._client.watch(job_ids, queue, events, **wanted))
        return _each(stream, float("inf"))

    def watch_queue(
        self,
        queues: str | Iterable[str] = EVERY_QUEUE,
        events: Collection[str] | None = None,
        *,
        after: Mapping[str, str] | None = None,
    ) -> Iterator[Event]:
        """Yield the events of whole queues, since the positions `after` or from now on; see `Client.watch_queue`."""
        return _each(_Stream(self._portal, self._client.watch_queue(queues, events, after=after)), float("inf"))


class _Stream(Generic[Value]):
    """Reads an async iterator from the caller's thread.

    The iterator comes from an async context manager, which is entered when this object is made.
    """

    def __init__(self, portal: BlockingPortal, manager: AbstractAsyncContextManager[AsyncIterator[Value]]) -> None:
        self._portal = portal
        self._manager = portal.wrap_async_context_manager(manager)
        self._values = self._manager.__enter__()

    def next(self, deadline: float) -> Value:
        """Wait for the next value, and return it.

        Raises:
            StopAsyncIteration: There are no more values.
            trio.TooSlowError: No value came until `deadline`, which is in seconds on trio's clock.
        """

        async def following() -> Value:
            with trio.fail_at(deadline):
                return await anext(self._values)

        return _call(self._portal, following)

    def close(self) -> None:
        """Leave the context. Do nothing if the client is already closed."""
        with suppress(RuntimeError):
            self._manager.__exit__(None, None, None)


def _each(stream: _Stream[Value], deadline: float) -> Generator[Value, None, None]:
    try:
        while True:
            try:
                value = stream.next(deadline)
            except StopAsyncIteration:
                return
            except trio.TooSlowError:
                raise TimeoutError("not all of the jobs had ended in time") from None
            yield value
    finally:
        stream.close()


def _call(portal: BlockingPortal, function: Callable[[], Awaitable[Value]]) -> Value:
    """Run `function` in the client's loop, and return its result.

    If an exception, such as Ctrl-C, ends the wait in this thread, `function` is cancelled in the client's thread.
    """
    future = portal.start_task_soon(function)
    try:
        return future.result()
    finally:
        future.cancel()


async def _deadline(timeout_s: float | None) -> float:
    return trio.current_time() + _seconds(timeout_s)


def _seconds(timeout_s: float | None) -> float:
    return float("inf") if timeout_s is None else timeout_s


def connect(url: str, *, token: Token | None = None) -> Jobs:
    """Connect to the bridge with the base URL `url`; see `jobws.client.connect`.

    Use the client in a `with` statement. In a notebook, keep it in a variable until `close` or the end of the program.

    Args:
        url: The bridge's base URL, http(s) or ws(s), with the path below which the bridge is mounted.
        token: As for `jobws.client.connect`. A function is called in the client's thread.

    Raises:
        UnreachableError: No bridge at this URL speaks jobws.v1.
        RefusedError: The bridge refuses this client.
        ClientError: The token is malformed, or the function that returns it fails.
    """
    with ExitStack() as stack:
        portal = _portal(stack)
        manager = portal.wrap_async_context_manager(connect_async(url, token=token))
        client = manager.__enter__()
        # The `with` block's exception is not passed on, since a KeyboardInterrupt would end the client's loop.
        stack.callback(manager.__exit__, None, None, None)
        return Jobs(portal, client, stack.pop_all().close)


@contextmanager
def connect_logs(
    url: str,
    *,
    level: str | None = None,
    source: Names = None,
    queue: Names = None,
    job_id: Names = None,
    text: str | None = None,
    tail: int | None = None,
    after: str | None = None,
    follow: bool = True,
    token: Token | None = None,
) -> Generator[Iterator[LogLine], None, None]:
    """Read the log that programs share. Arguments and exceptions are those of `jobws.client.connect_logs`.

    `with jobws.sync.connect_logs(url, tail=100, follow=False) as lines: for line in lines: …`
    """
    chosen = partial(connect_logs_async, url, level=level, source=source, queue=queue, job_id=job_id, text=text)
    with ExitStack() as stack:
        portal = _portal(stack)
        stream = _Stream(portal, chosen(tail=tail, after=after, follow=follow, token=token))
        stack.callback(stream.close)
        yield _each(stream, float("inf"))


def _portal(stack: ExitStack) -> BlockingPortal:
    """Start an event loop for a client in a thread of its own. Closing `stack` cancels its tasks, and ends the loop."""
    portal = stack.enter_context(start_blocking_portal("trio", name="jobws-client"))
    # Cancel what still runs, such as an iterator whose loop ended early, since closing would wait for it.
    stack.callback(portal.call, portal.stop, True)
    return portal
