"""A client that does what protocol.md §10 says and nothing more: a cursor per subscription (R4), no cleverness."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from jobws.protocol.identifiers import position
from tests.chaos.jobs import Job, Key, Ledger, Lives, Outcome
from tests.chaos.patience import AGAIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from random import Random

    from tests.chaos.proxy import Proxy

Frame: TypeAlias = dict[str, Any]
OUTCOMES: Final = ("completed", "failed", "removed")
ALIVE: Final = ("added", "waiting", "active")
TICK_SECONDS: Final = 0.05
_BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError)


@asynccontextmanager
async def websocket(port: int, path: str) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """A connection. It is dropped without manners at the end; `is_lost` knows what it raises."""
    with trio.fail_after(10):
        stream = _Noticing(await trio.open_tcp_stream("127.0.0.1", port))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.fail_at_end)
            with trio.fail_after(10):
                connection = await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,  # type: ignore[arg-type]  # any stream will do
                    f"127.0.0.1:{port}",
                    path,
                )
            yield connection
            nursery.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(stream.stream)


class _Noticing(trio.abc.Stream):
    """A stream that says when it ended: trio-websocket waits for the answer to its handshake for ever."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._ended = trio.Event()

    async def fail_at_end(self) -> None:
        """Raise once nothing more comes; a moment later, for what came before that is still to be taken."""
        await self._ended.wait()
        await trio.sleep(0.01)
        raise trio.BrokenResourceError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = await self.stream.receive_some(max_bytes)
        except _BROKEN:
            self._ended.set()
            raise
        if not data:
            self._ended.set()
        return bytes(data)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.stream.aclose()


def is_lost(error: BaseException) -> bool:
    """Whether this, or everything in this group, says that a connection ended or never came to be."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_lost(each) for each in error.exceptions)
    kinds = (trio.TooSlowError, trio_websocket.ConnectionClosed, trio_websocket.HandshakeError)
    return isinstance(error, (*_BROKEN, *kinds))


def sent_away(error: BaseException) -> str:
    """Why a bridge says that a client must not come back; empty: it does not say that."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(sent_away, error.exceptions)), "")
    if isinstance(error, trio_websocket.ConnectionClosed) and error.reason is not None and error.reason.code >= 4500:
        return f"sent away with {error.reason}"
    return ""


class Room:
    """One subscription, across connections. Without a queue it is to the jobs of that id in all of them.

    Attributes:
        item: What is sent for it, besides `after`.
        queue: None: of all queues.
        cursor: How far its events have come; None: it was never acknowledged.
        number: Of its latest subscription.
        acked: Whether that was acknowledged.
        rewound: The queues whose position was taken back after a gap.
        over: Whether it is not subscribed again.
        told: Whether an outcome came since it was subscribed. Older events may follow one made from the hash.
        again_at: When to ask again after a refusal, on trio's clock.
    """

    def __init__(self, queue: str | None, job_id: str, events: list[str] | None, *, until_end: bool) -> None:
        self.queue = queue
        self.job_id = job_id
        self.item: dict[str, object] = {"jobId": job_id}
        if queue is not None:
            self.item["queue"] = queue
        if events is not None:
            self.item["events"] = events
        if until_end:
            self.item["until"] = "end"
        self.until_end = until_end
        self.cursor: dict[str, str] | None = None
        self.number = 0
        self.acked = False
        self.rewound: set[str] = set()
        self.over = False
        self.told = False
        self.again_at = 0.0
        self.last: dict[str, str] = {}

    def take_cursor(self, cursor: dict[str, str]) -> None:
        """Everything up to there has come."""
        self.cursor = {queue: id for queue, id in cursor.items() if self.queue in (None, queue)}

    def advance(self, cursor: dict[str, str]) -> None:
        """Everything up to there has come, where that is later: what is read back for others holds a pong's back."""
        assert self.cursor is not None
        for queue, id in cursor.items():
            if self.queue in (None, queue) and position(id) > position(self.cursor.get(queue, "0-0")):
                self.cursor[queue] = id

    def message(self) -> dict[str, object]:
        """The item of a subscription. Of an id in two queues, old outcomes come only with a position (R8)."""
        after = {} if self.cursor is None and self.queue is None else self.cursor
        return self.item if after is None else {**self.item, "after": after}


class RawClient:
    """Subscribes at random moments, before, while and after its jobs run, and comes back whenever it is cut off."""

    def __init__(self, name: str, jobs: list[Job], lives: Lives, random: Random, proxy: Proxy) -> None:
        self.ledger = Ledger(name, lives)
        self._random = random
        self._proxy = proxy
        self._queues = {job.queue for job in jobs}
        self._by_room: dict[tuple[str | None, str], Room] = {}
        self._due: list[tuple[float, Room]] = []
        self._waiting: dict[int, list[Room]] = {}
        self._numbers = itertools.count(1)
        for job in jobs:
            self._plan(job)
        self._due.sort(key=lambda each: each[0], reverse=True)

    def _plan(self, job: Job) -> None:
        # An id of several queues is watched in all of them, or in each.
        anywhere = int(job.job_id[1:]) % 4 == 0
        queue = None if anywhere else job.queue
        if (queue, job.job_id) in self._by_room:
            return
        events = self._random.choice((None, None, ["*"], ["completed", "failed", "progress"]))
        room = Room(queue, job.job_id, events, until_end=not anywhere and self._random.random() < 0.5)
        self._by_room[queue, job.job_id] = room
        self._due.append((max(0.0, job.at + self._random.uniform(-2, 4)), room))

    async def run(self, started: float) -> None:
        """Follow the jobs until cancelled."""
        wait = 0.05
        while True:
            try:
                async with websocket(self._proxy.port, "/ws") as socket:
                    wait = 0.05
                    await self._talk(socket, started)
            except Exception as error:
                if not is_lost(error):
                    raise
                if why := sent_away(error):
                    self.ledger.faults.append(f"{self.ledger.name}: {why}")
            self.ledger.counts["connections lost"] += 1
            for room in self._by_room.values():
                if room.number:
                    self._note(room, "cut off")
            self._waiting.clear()
            self.ledger.alive.clear()
            await trio.sleep(self._random.uniform(0, wait))
            wait = min(2 * wait, 1.0)

    async def _talk(self, socket: trio_websocket.WebSocketConnection, started: float) -> None:
        hello = json.loads(await socket.get_message())
        assert hello["event"] == "hello"
        limit = hello["data"]["limits"]["maxSubscriptions"]
        for room in self._by_room.values():
            room.acked = False
            room.last.clear()
        again = [room for room in self._by_room.values() if room.number and not room.over]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, socket, started, again, limit)
            while True:
                self._receive(json.loads(await socket.get_message()))

    async def _write(
        self, socket: trio_websocket.WebSocketConnection, started: float, again: list[Room], limit: int
    ) -> None:
        while True:
            size = self._random.randint(1, limit)
            batch, again = again[:size], again[size:]
            if batch:
                await self._subscribe(socket, batch)
                continue
            now = trio.current_time() - started
            while self._due and self._due[-1][0] <= now:
                batch.append(self._due.pop()[1])
            if batch:
                await self._subscribe(socket, batch)
            if self._random.random() < 0.05:
                await socket.send_message('{"event":"ping"}')
            await trio.sleep(self._random.uniform(0, 2 * TICK_SECONDS))
            refused = [room for room in self._by_room.values() if room.number == -1]
            again = [room for room in refused if trio.current_time() >= room.again_at]

    async def _subscribe(self, socket: trio_websocket.WebSocketConnection, rooms: list[Room]) -> None:
        ref = next(self._numbers)
        for room in rooms:
            room.number = ref
            room.told = False
            self._note(room, f"asks {room.message()}")
        self._waiting[ref] = rooms
        request = {"event": "subscribe-job", "ref": ref, "data": [room.message() for room in rooms]}
        await socket.send_message(json.dumps(request))

    def _receive(self, frame: Frame) -> None:
        match frame["event"]:
            case "ack":
                self._acknowledge(self._waiting.pop(frame["ref"]), frame["data"])
            case "pong":
                for room in self._by_room.values():
                    if room.acked and not room.over:
                        room.advance(frame["data"]["cursor"])
                        self._note(room, f"pong {frame['data']['cursor']}")
            case "gap":
                self.ledger.counts["gap frames"] += 1
                self.ledger.counts[f"gap: {frame['data']['reason']}"] += 1
                for room in self._by_room.values():  # a stream that began anew has ids of its own
                    room.last.clear()
                    self._note(room, f"gap {frame['data']}")
            case "error":
                self._refused(frame)
            case event:
                self._event(event, frame)

    def _note(self, room: Room, what: str) -> None:
        self.ledger.history[room.job_id].append(f"{time.time():.3f} {room.queue} {what}")

    def _refused(self, frame: Frame) -> None:
        code = frame["data"]["code"]
        self.ledger.counts[f"error {code}"] += 1
        if code not in ("unavailable", "unknown-queue"):
            self.ledger.faults.append(f"{self.ledger.name}: {frame}")
        for room in self._waiting.pop(frame.get("ref", 0), []):
            self._ask_again(room)

    def _ask_again(self, room: Room) -> None:
        room.number = -1
        room.again_at = trio.current_time() + AGAIN_SECONDS

    def _acknowledge(self, rooms: list[Room], data: Frame) -> None:
        for room, result in zip(rooms, data["results"], strict=True):
            if "error" in result:
                self.ledger.counts[f"error {result['error']['code']}"] += 1
                self._ask_again(room)
                continue
            self.ledger.counts["gaps in acks"] += "gap" in result
            # Whoever came back with a position keeps it: one ack speaks for a list, so its cursor may lie further back.
            if room.cursor is None or "gap" in result:
                room.take_cursor(data["cursor"])
            if "gap" in result:
                room.rewound.update(self._queues)
            room.acked = True
            self.ledger.alive.update(
                (job["queue"], job["jobId"]) for job in result["jobs"] if job["state"] not in OUTCOMES
            )
            self._note(room, f"ack {data['cursor']} {result}")

    def _event(self, event: str, frame: Frame) -> None:
        data, stream_id = frame["data"], frame.get("id")
        key: Key = (data["queue"], data["jobId"])
        room = self._by_room.get(key) or self._by_room[None, data["jobId"]]
        if not room.acked:
            self.ledger.faults.append(f"{self.ledger.name}: an event before its ack: {frame}")
        self._note(room, f"{event} {stream_id}")
        self.ledger.count_frame(stream_id, replayed="replayed" in frame)
        if stream_id is not None:
            before = room.last.get(key[0], "0-0")
            if position(stream_id) <= position(before):
                self.ledger.faults.append(f"{self.ledger.name}: {frame} after {before}")
            room.last[key[0]] = stream_id
            assert room.cursor is not None
            room.cursor[key[0]] = stream_id
        if event in ALIVE and not room.told:
            self.ledger.alive.add(key)
        if event in OUTCOMES and not (event == "removed" and data.get("prev") in ("completed", "failed")):
            outcome = Outcome(stream_id, "replayed" in frame, room.number, key[0] in room.rewound)
            self.ledger.note(key, event, data, outcome, over=room.until_end)
            room.over = room.until_end
            room.told = True
            if stream_id is not None:
                room.rewound.discard(key[0])
