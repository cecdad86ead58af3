"""Clients of `jobws.js` in one Node process (tests/node/adapter.mjs says what goes over the pipes)."""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
from contextlib import aclosing, asynccontextmanager, closing, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import anyio
import trio

from tests.support import EVENTUALLY_SECONDS, require
from tests.support.node import NODE, install_packages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Told = dict[str, Any]
"""A line that the process wrote."""

SOON: Final = {"transports": ["websocket"], "reconnectionDelay": 10, "reconnectionDelayMax": 10}
# Not those of an earlier test in the same process.
_ids = count(1)
_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class Rejected(Exception):
    """A promise was rejected. `error` holds the Error's own properties, `name` and `message`."""

    def __init__(self, error: Told) -> None:
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.error = error


class Adapter:
    """What a test has of the process. `adapter()` makes one.

    Attributes:
        warnings: What went to `console.warn`.
        uncaught: Errors that nobody caught.
    """

    def __init__(self, stdin: trio.abc.SendStream, stdout: trio.abc.ReceiveStream) -> None:
        self.warnings: list[str] = []
        self.uncaught: list[Told] = []
        self._stdin = stdin
        self._stdout = stdout
        self._clients: dict[str, tuple[MemoryObjectSendStream[Told], MemoryObjectReceiveStream[Told]]] = {}
        self._calls: dict[int, MemoryObjectSendStream[Told]] = {}
        self._sending = anyio.Lock()

    async def io(self, url: str, **options: Any) -> AdapterClient:
        """`io(url, options)`, with the WebSocket of the package `ws`; `WebSocket=False`: there is none."""
        name = f"client {next(_ids)}"
        self._clients[name] = anyio.create_memory_object_stream[Told](math.inf)
        await self.do("io", client=name, url=url, options=options)
        return AdapterClient(self, name, self._clients[name][1])

    async def do(self, command: str, **rest: Any) -> None:
        """Give a command."""
        async with self._sending:
            await self._stdin.send_all(json.dumps({"do": command, **rest}).encode() + b"\n")

    @asynccontextmanager
    async def call(self, command: str, **rest: Any) -> AsyncIterator[tuple[int, MemoryObjectReceiveStream[Told]]]:
        """Give a command that tells something; its id, and what it will tell, up to the last."""
        id = next(_ids)
        sent, told = anyio.create_memory_object_stream[Told](math.inf)
        self._calls[id] = sent
        with sent, told:
            await self.do(command, id=id, **rest)
            yield id, told

    async def read(self) -> None:
        """Hand on what the process writes, until it ends."""
        rest = b""
        async for chunk in self._stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        raise RuntimeError("adapter.mjs has ended")

    async def leave(self) -> bool:
        """Close the clients, and make the process as it was at its beginning; whether that was done in time."""
        with trio.move_on_after(EVENTUALLY_SECONDS):
            async with self.call("leave") as (_, told):
                await told.receive()
                return True
        return False

    def close(self) -> None:
        """What came and was not looked at is dropped."""
        for stream in [stream for streams in self._clients.values() for stream in streams]:
            stream.close()

    def _take(self, told: Told) -> None:
        match told["told"]:
            case "warning":
                self.warnings.append(told["text"])
            case "uncaught":
                self.uncaught.append(told["error"])
            case "event":
                self._clients[told["client"]][0].send_nowait(told)
            case kind:
                call = self._calls[told["id"]] if kind == "watched" else self._calls.pop(told["id"])
                with suppress(*_BROKEN):  # nobody waits for it any more
                    call.send_nowait(told)


class AdapterClient:
    """What `io` returned.

    Attributes:
        told: Its events as they come, `{"event", "data", …}`: connect, disconnect, connect_error, transport, `token`
            (it asks for one), and what handlers were added for with `on`.
    """

    def __init__(self, adapter: Adapter, name: str, told: MemoryObjectReceiveStream[Told]) -> None:
        self.told = told
        self._adapter = adapter
        self._name = name

    async def on(self, *events: str, how: str = "on", manager: bool = False) -> None:
        """Add handlers. `how`: also `once`, or `off`. `manager`: to the client's `io`."""
        for event in events:
            await self._adapter.do(how, client=self._name, event=event, manager=manager)

    async def until(self, event: str) -> list[Told]:
        """What it tells up to and with the next event of that name. Fails after 60 s."""
        told: list[Told] = []
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while not told or told[-1]["event"] != event:
                told.append(await self.told.receive())
        return told

    async def emit(self, *arguments: Any, limit_ms: float | None = None) -> list[Any]:
        """`emit(…, acknowledge)`, or `timeout(limit_ms).emit(…)`; what `acknowledge` was called with."""
        rest = {} if limit_ms is None else {"timeout": limit_ms}
        async with self._adapter.call("emit", client=self._name, args=arguments, **rest) as (_, told):
            answer: list[Any] = (await told.receive())["args"]
            return answer

    async def send(self, *arguments: Any) -> None:
        """`emit(…)` without an acknowledgement."""
        await self._adapter.do("emit", client=self._name, args=arguments)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method, and await what it returns.

        Raises:
            Rejected: It threw, or its promise was rejected.
        """
        async with self._adapter.call("call", client=self._name, method=method, args=arguments) as (_, told):
            return _value(await told.receive())

    async def wait(self, job_id: object, **options: Any) -> Any:
        """`wait`; who is cancelled aborts it.

        Raises:
            Rejected: What `wait` rejects with.
        """
        async with self._adapter.call("wait", client=self._name, jobId=job_id, options=options) as (id, told):
            try:
                return _value(await told.receive())
            except anyio.get_cancelled_exc_class():
                await self._leave("abort", id)
                raise

    @asynccontextmanager
    async def watch(self, job_id: object, **options: Any) -> AsyncIterator[AsyncIterator[Told]]:
        """`for await (… of watch(…))`, `{"event", "data", …}` each; the end of the context leaves the loop.

        Raises:
            Rejected: Where it throws.
        """
        call = self._adapter.call("watch", client=self._name, jobId=job_id, options=options)
        async with call as (id, told), aclosing(_watched(told)) as watched:
            try:
                yield watched
            finally:
                await self._leave("close", id)

    async def state(self) -> Told:
        """`connected`, `active` and `transport`."""
        async with self._adapter.call("state", client=self._name) as (_, told):
            state: Told = _value(await told.receive())
            return state

    async def _leave(self, how: str, id: int) -> None:
        with anyio.CancelScope(shield=True), suppress(*_BROKEN):
            await self._adapter.do(how, id=id)


async def _watched(told: MemoryObjectReceiveStream[Told]) -> AsyncGenerator[Told, None]:
    async for each in told:
        if each["told"] != "watched":
            _value(each)
            return
        yield each["event"]


def _value(told: Told) -> Any:
    if told["told"] == "rejected":
        raise Rejected(told["error"])
    return told["value"]


class _Node:
    """The process: the tests of a Python process share one, since each start costs as much as most of these tests."""

    def __init__(self) -> None:
        command = [require("node"), str(NODE / "adapter.mjs")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        atexit.register(self.end)

    def streams(self) -> tuple[trio.lowlevel.FdStream, trio.lowlevel.FdStream]:
        """Its standard input and output, which may be closed: it has them still."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        stdin, stdout = (os.dup(each.fileno()) for each in (self._process.stdin, self._process.stdout))
        return trio.lowlevel.FdStream(stdin), trio.lowlevel.FdStream(stdout)

    def end(self) -> None:
        atexit.unregister(self.end)
        self._process.kill()
        self._process.communicate()


_nodes: list[_Node] = []


@asynccontextmanager
async def adapter() -> AsyncIterator[Adapter]:
    """Clients in Node, with a module `jobws.js` of their own, which are closed at the end of the context.

    The test is skipped where Node is missing.
    """
    await trio.to_thread.run_sync(install_packages, NODE, "ws")
    node = _nodes.pop() if _nodes else _Node()
    clean = False
    try:
        stdin, stdout = node.streams()
        async with stdin, stdout:
            made = Adapter(stdin, stdout)
            with closing(made):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(made.read)
                    yield made
                    clean = await made.leave()
                    nursery.cancel_scope.cancel()
    finally:
        if clean:
            _nodes.append(node)
        else:
            node.end()


@asynccontextmanager
async def in_node() -> AsyncIterator[Adapter]:
    """A process whose code throws nothing that nobody catches."""
    async with adapter() as node:
        with trio.fail_after(EVENTUALLY_SECONDS):
            yield node
        assert node.uncaught == []
