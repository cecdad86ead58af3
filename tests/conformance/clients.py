"""The Python and the JavaScript client, in the form that the vectors for clients need."""

from __future__ import annotations

from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio
import trio.testing

from jobws.client import connect
from jobws.errors import ClientError, JobFailed, JobRemoved, JobUnknown, RefusedError, ResponseError
from tests.support.adapter import Rejected, adapter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from jobws.client import Client, Event
    from tests.support.adapter import AdapterClient


# Times in milliseconds. The client reconnects immediately, and asks for positions often.
JAVASCRIPT_OPTIONS: Final = {
    "transports": ["websocket"],
    "reconnectionDelay": 10,
    "reconnectionDelayMax": 10,
    "pingInterval": 300,
    "pongTimeout": 60_000,
}


class Calls:
    """The calls of a client's user, for both clients, whose methods have the same names. What they get is kept until a
    step asks for it.
    """

    def __init__(self, nursery: trio.Nursery, jobs: Client | AdapterClient) -> None:
        self._nursery = nursery
        self._jobs = jobs
        self._scopes: dict[str, trio.CancelScope] = {}
        self._told: dict[str, trio.MemoryReceiveChannel[dict[str, Any]]] = {}

    async def call(self, kind: str, name: str, about: Any, options: dict[str, Any]) -> None:
        """See `client_player.Client`."""
        send, self._told[name] = trio.open_memory_channel[dict[str, Any]](inf)
        scope = self._scopes[name] = trio.CancelScope()

        async def call() -> None:
            with scope:
                try:
                    if kind == "wait":
                        send.send_nowait({"result": await self._jobs.wait(about, **options)})
                    else:
                        method = self._jobs.watch if kind == "watch" else self._jobs.watch_queue
                        async with method(about, **options) as watched:
                            async for event in watched:
                                if (told := plain(event))["event"] != "ack":
                                    send.send_nowait(told)
                        send.send_nowait({"end": True})
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


def plain(event: Event | dict[str, Any]) -> dict[str, Any]:
    """Return an event of either client, without the keys that it does not have."""
    if isinstance(event, dict):
        return event
    keys = {"id": event.id, "replayed": event.replayed or None, "parent": event.parent}
    told = {"unknown": True} if event.event == "unknown" else {}
    return {
        "event": event.event,
        "data": event.data,
        **{key: each for key, each in keys.items() if each is not None},
        **told,
    }


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
async def python_client(url: str) -> AsyncIterator[Calls]:
    """Yield the calls of a connected Python client of the bridge at `url`."""
    async with connect(url) as jobs, trio.open_nursery() as nursery:
        yield Calls(nursery, jobs)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def javascript_client(url: str) -> AsyncIterator[Calls]:
    """Yield the calls of a connected JavaScript client of the bridge at `url`, in Node."""
    async with adapter() as node, trio.open_nursery() as nursery:
        jobs = await node.io(url, **JAVASCRIPT_OPTIONS)
        await jobs.until("connect")
        yield Calls(nursery, jobs)
        nursery.cancel_scope.cancel()
        assert (node.warnings, node.uncaught) == ([], [])
