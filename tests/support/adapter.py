"""Clients of `jobws.js` in a Node process, which tests control over pipes (tests/node/adapter.mjs)."""

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
"""A line that the process wrote, as a JSON object."""

SOON: Final = {"transports": ["websocket"], "reconnectionDelay": 10, "reconnectionDelayMax": 10}
# Ids and names are not used again by a later test, which may have the same Node process.
_ids = count(1)
_BROKEN: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)


class Rejected(Exception):
    """A promise was rejected. `error` has the properties of the JavaScript error, with `name` and `message`."""

    def __init__(self, error: Told) -> None:
        super().__init__(f"{error.get('name')}: {error.get('message')}")
        self.error = error


class Adapter:
    """The Node process, as one test sees it. Get it from `adapter`.

    Attributes:
        warnings: The texts of `console.warn`.
        uncaught: The errors that no code in Node caught.
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
        """Return what `io(url, options)` returns.

        WebSockets are those of the package `ws`; `WebSocket=False` means none.
        """
        name = f"client {next(_ids)}"
        self._clients[name] = anyio.create_memory_object_stream[Told](math.inf)
        await self.do("io", client=name, url=url, options=options)
        return AdapterClient(self, name, self._clients[name][1])

    async def do(self, command: str, **rest: Any) -> None:
        """Send a command that has no answer."""
        async with self._sending:
            await self._stdin.send_all(json.dumps({"do": command, **rest}).encode() + b"\n")

    @asynccontextmanager
    async def call(self, command: str, **rest: Any) -> AsyncIterator[tuple[int, MemoryObjectReceiveStream[Told]]]:
        """Send a command that has answers. Yield its id, and a stream of the answers."""
        id = next(_ids)
        sent, told = anyio.create_memory_object_stream[Told](math.inf)
        self._calls[id] = sent
        with sent, told:
            await self.do(command, id=id, **rest)
            yield id, told

    async def read(self) -> None:
        """Pass on what the process writes to those who wait for it, until the process ends."""
        rest = b""
        async for chunk in self._stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        raise RuntimeError("adapter.mjs has ended")

    async def leave(self) -> bool:
        """Close the clients, and return the process to its first state. Return whether this was done within 60 s."""
        with trio.move_on_after(EVENTUALLY_SECONDS):
            async with self.call("leave") as (_, told):
                await told.receive()
                return True
        return False

    def close(self) -> None:
        """Drop what came and was not read."""
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
                with suppress(*_BROKEN):  # the caller was cancelled
                    call.send_nowait(told)


class AdapterClient:
    """A client in Node: the object that `io` returned there.

    Attributes:
        told: Its events as they come, `{"event", "data", …}`: connect, disconnect, connect_error, transport, `token`
            when it asks for a token, and the events for which `on` added handlers.
    """

    def __init__(self, adapter: Adapter, name: str, told: MemoryObjectReceiveStream[Told]) -> None:
        self.told = told
        self._adapter = adapter
        self._name = name

    async def on(self, *events: str, how: str = "on", manager: bool = False) -> None:
        """Call the method `how` (`on`, `once` or `off`) of the client, or of its manager `io`, for each of these
        events.
        """
        for event in events:
            await self._adapter.do(how, client=self._name, event=event, manager=manager)

    async def until(self, event: str) -> list[Told]:
        """Return the client's events up to and including the next one with this name. Fail after 60 s."""
        told: list[Told] = []
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while not told or told[-1]["event"] != event:
                told.append(await self.told.receive())
        return told

    async def emit(self, *arguments: Any, limit_ms: float | None = None) -> list[Any]:
        """Call `emit(…, acknowledge)`, after `timeout(limit_ms)` if that is given.

        Return the arguments of `acknowledge`.
        """
        rest = {} if limit_ms is None else {"timeout": limit_ms}
        async with self._adapter.call("emit", client=self._name, args=arguments, **rest) as (_, told):
            answer: list[Any] = (await told.receive())["args"]
            return answer

    async def send(self, *arguments: Any) -> None:
        """Call `emit(…)` without an acknowledgement."""
        await self._adapter.do("emit", client=self._name, args=arguments)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the client, and return what it returns or its promise resolves to.

        Raises:
            Rejected: The method threw, or its promise was rejected.
        """
        async with self._adapter.call("call", client=self._name, method=method, args=arguments) as (_, told):
            return _value(await told.receive())

    async def wait(self, job_id: object, **options: Any) -> Any:
        """Call `wait`, and return the result. Cancelling this aborts `wait`.

        Raises:
            Rejected: The promise of `wait` was rejected.
        """
        async with self._adapter.call("wait", client=self._name, jobId=job_id, options=options) as (id, told):
            try:
                return _value(await told.receive())
            except anyio.get_cancelled_exc_class():
                await self._leave("abort", id)
                raise

    @asynccontextmanager
    async def watch(self, job_id: object, **options: Any) -> AsyncIterator[AsyncIterator[Told]]:
        """Run `for await (… of watch(…))`. Yield its values, `{"event", "data", …}` each.

        The end of the context ends the loop.

        Raises:
            Rejected: The loop throws. Reading the values raises this.
        """
        async with self._follow("watch", jobId=job_id, options=options) as watched:
            yield watched

    @asynccontextmanager
    async def watch_queue(self, queues: object, **options: Any) -> AsyncIterator[AsyncIterator[Told]]:
        """Run `for await (… of watchQueue(client, queues, …))`, as `watch` does."""
        async with self._follow("watchQueue", queues=queues, options=options) as watched:
            yield watched

    async def state(self) -> Told:
        """Return the client's properties `connected`, `active` and `transport`."""
        async with self._adapter.call("state", client=self._name) as (_, told):
            state: Told = _value(await told.receive())
            return state

    @asynccontextmanager
    async def _follow(self, command: str, **what: Any) -> AsyncIterator[AsyncIterator[Told]]:
        call = self._adapter.call(command, client=self._name, **what)
        async with call as (id, told), aclosing(_watched(told)) as watched:
            try:
                yield watched
            finally:
                await self._leave("close", id)

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
    """A Node process. Tests use it one after the other, since a start takes as long as most of these tests."""

    def __init__(self) -> None:
        command = [require("node"), str(NODE / "adapter.mjs")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        atexit.register(self.end)

    def streams(self) -> tuple[trio.lowlevel.FdStream, trio.lowlevel.FdStream]:
        """Return copies of its standard input and output, which the caller may close."""
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
    """Yield a Node process that has just loaded `jobws.js`. Its clients are closed at the end of the context.

    The test is skipped if Node is missing.
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
    """Yield a Node process, and check at the end that no error was left uncaught."""
    async with adapter() as node:
        with trio.fail_after(EVENTUALLY_SECONDS):
            yield node
        assert node.uncaught == []
