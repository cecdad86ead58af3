"""The Python and the JavaScript client, in the form that the vectors for clients need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio
import trio.testing

from jobws.client import connect
from jobws.errors import ClientError, JobFailed, JobRemoved, JobUnknown, RefusedError, ResponseError
from tests.support.adapter import Rejected, adapter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from jobws.client import Client, Event
    from tests.support.adapter import AdapterClient

    Put = Callable[[dict[str, Any]], None]
    Task = Callable[[Put], Awaitable[None]]

# Times in milliseconds. The client reconnects immediately, and asks for positions often.
JAVASCRIPT_OPTIONS: Final = {
    "transports": ["websocket"],
    "reconnectionDelay": 10,
    "reconnectionDelayMax": 10,
    "pingInterval": 300,
    "pongTimeout": 60_000,
}


class Calls(ABC):
    """The calls of a client's user. What they get is kept until a step asks for it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._scopes: dict[str, trio.CancelScope] = {}
        self._told: dict[str, trio.MemoryReceiveChannel[dict[str, Any]]] = {}

    @abstractmethod
    async def watch(
        self,
        name: str,
        job_id: str | int,
        queue: str | None,
        events: list[str],
        *,
        expect: bool,
        logs: bool,
        children: bool,
    ) -> None:
        """See `client_player.Client`."""

    @abstractmethod
    async def wait(self, name: str, job_id: str | int, queue: str | None, *, expect: bool) -> None:
        """See `client_player.Client`."""

    async def begin(self, name: str, task: Task) -> None:
        send, self._told[name] = trio.open_memory_channel[dict[str, Any]](inf)
        scope = self._scopes[name] = trio.CancelScope()

        async def call() -> None:
            with scope:
                try:
                    await task(send.send_nowait)
                except (ClientError, Rejected) as error:
                    send.send_nowait(word(error))

        self._nursery.start_soon(call)
        # So calls are made one after the other.
        await trio.testing.wait_all_tasks_blocked()

    async def leave(self, name: str) -> None:
        self._scopes[name].cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def told(self, name: str) -> dict[str, Any]:
        return await self._told[name].receive()


class PythonClient(Calls):
    """`jobws.client`."""

    def __init__(self, nursery: trio.Nursery, jobs: Client) -> None:
        super().__init__(nursery)
        self._jobs = jobs

    async def watch(
        self,
        name: str,
        job_id: str | int,
        queue: str | None,
        events: list[str],
        *,
        expect: bool,
        logs: bool,
        children: bool,
    ) -> None:
        async def watch(put: Put) -> None:
            async with self._jobs.watch(job_id, queue, events, expect=expect, logs=logs, children=children) as watched:
                async for event in watched:
                    put(plain(event))
            put({"end": True})

        await self.begin(name, watch)

    async def wait(self, name: str, job_id: str | int, queue: str | None, *, expect: bool) -> None:
        async def wait(put: Put) -> None:
            put({"result": await self._jobs.wait(job_id, queue, expect=expect)})

        await self.begin(name, wait)


class JavaScriptClient(Calls):
    """`jobws.js` in Node."""

    def __init__(self, nursery: trio.Nursery, jobs: AdapterClient) -> None:
        super().__init__(nursery)
        self._jobs = jobs

    async def watch(
        self,
        name: str,
        job_id: str | int,
        queue: str | None,
        events: list[str],
        *,
        expect: bool,
        logs: bool,
        children: bool,
    ) -> None:
        options: dict[str, Any] = {"events": events, "expect": expect, "logs": logs, "children": children}
        options |= {} if queue is None else {"queue": queue}

        async def watch(put: Put) -> None:
            async with self._jobs.watch(job_id, **options) as watched:
                async for event in watched:
                    put(event)
            put({"end": True})

        await self.begin(name, watch)

    async def wait(self, name: str, job_id: str | int, queue: str | None, *, expect: bool) -> None:
        options = {"expect": expect, **({} if queue is None else {"queue": queue})}

        async def wait(put: Put) -> None:
            put({"result": await self._jobs.wait(job_id, **options)})

        await self.begin(name, wait)


def plain(event: Event) -> dict[str, Any]:
    """Return an event without the keys that it does not have."""
    if event.event == "unknown":
        return {"unknown": True}
    keys = {"id": event.id, "replayed": event.replayed or None, "parent": event.parent}
    return {"event": event.event, "data": event.data, **{key: each for key, each in keys.items() if each is not None}}


def word(error: ClientError | Rejected) -> dict[str, Any]:
    """Return how the vectors write an exception."""
    match error:
        case JobFailed():
            return {"failed": error.reason}
        case JobRemoved() | Rejected(error={"name": "JobRemoved"}):
            return {"removed": True}
        case JobUnknown() | Rejected(error={"name": "JobUnknown"}):
            return {"unknown": True}
        case ResponseError():
            return {"refused": error.code}
        case RefusedError() | Rejected(error={"name": "JobwsError", "code": int()}):
            return {"away": True}
        case Rejected(error={"name": "JobFailed", "reason": reason}):
            return {"failed": reason}
        case Rejected(error={"name": "JobwsError", "code": str(code)}):
            return {"refused": code}
        case _:
            raise error


@asynccontextmanager
async def python_client(url: str) -> AsyncIterator[PythonClient]:
    """Yield a connected Python client of the bridge at `url`."""
    async with connect(url) as jobs, trio.open_nursery() as nursery:
        yield PythonClient(nursery, jobs)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def javascript_client(url: str) -> AsyncIterator[JavaScriptClient]:
    """Yield a connected JavaScript client of the bridge at `url`, in Node."""
    async with adapter() as node, trio.open_nursery() as nursery:
        jobs = await node.io(url, **JAVASCRIPT_OPTIONS)
        await jobs.until("connect")
        yield JavaScriptClient(nursery, jobs)
        nursery.cancel_scope.cancel()
        assert (node.warnings, node.uncaught) == ([], [])
