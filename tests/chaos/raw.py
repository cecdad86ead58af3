"""A client that does exactly what protocol.md says, and checks that the bridge does, too."""

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
    """Open a WebSocket. The end of the context cuts it without a close frame.

    `is_lost` knows the errors that this raises.
    """
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
    """A stream that notices its end. Without this, trio-websocket waits for ever for the answer to a handshake."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._ended = trio.Event()

    async def fail_at_end(self) -> None:
        """Raise when the stream has ended. Wait a moment before, since what came earlier must still be read."""
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
    """Whether an error, or every error of a group, means that a connection ended or could not be opened."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_lost(each) for each in error.exceptions)
    kinds = (trio.TooSlowError, trio_websocket.ConnectionClosed, trio_websocket.HandshakeError)
    return isinstance(error, (*_BROKEN, *kinds))


def sent_away(error: BaseException) -> str:
    """Return why the bridge tells the client to stay away, or an empty text if it does not."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(sent_away, error.exceptions)), "")
    if isinstance(error, trio_websocket.ConnectionClosed) and error.reason is not None and error.reason.code >= 4500:
        return f"sent away with {error.reason}"
    return ""


class Room:
    """A subscription to one job id, in one queue or in all. It outlives connections.

    Attributes:
        item: The subscription as it is sent, without `sub` and `after`.
        queue: The queue; None means all queues.
        is_extra: Whether the client has another subscription to the same job. Then this one is checked, but is not
            counted in the ledger.
        after: Its positions by queue; None if it was never acknowledged.
        sub: Its present name; 0 if it was never sent.
        acked: Whether the subscription of this name was acknowledged.
        broken: The queues whose streams began again, so that earlier events may come again.
        over: Whether it has ended, and is not to be sent again.
        told: Whether an outcome came since it was sent. After one that comes from the hash, older events may follow.
        again_at: When to send it again after a refusal, on trio's clock; None if it was not refused.
        last: By queue, the last id that came over this connection since the last gap.
        taken: The queue and position of each event that came with a position.
    """

    def __init__(
        self, queue: str | None, job_id: str, events: list[str] | None, *, until_end: bool, is_extra: bool = False
    ) -> None:
        self.queue = queue
        self.job_id = job_id
        self.is_extra = is_extra
        self.item: dict[str, object] = {"jobId": job_id}
        if queue is not None:
            self.item["queue"] = queue
        if events is not None:
            self.item["events"] = events
        if until_end:
            self.item["until"] = "end"
        self.until_end = until_end
        self.after: dict[str, str] | None = None
        self.sub = 0
        self.acked = False
        self.broken: set[str] = set()
        self.over = False
        self.told = False
        self.again_at: float | None = None
        self.last: dict[str, str] = {}
        self.taken: set[tuple[str, str]] = set()

    def vouch(self, positions: dict[str, str]) -> None:
        """Take over the positions of a pong that are later than those known."""
        assert self.after is not None
        for queue, reached in positions.items():
            if self.queue not in (None, queue):
                continue
            stream_id, tilde, suffix = self.after.get(queue, "").partition("~")
            if not stream_id or position(reached) > position(stream_id):
                self.after[queue] = f"{reached}{tilde}{suffix}"

    def message(self, first_after: dict[str, str] | None) -> dict[str, object]:
        """Return the subscription as it is sent.

        `first_after` is its `after` while no position is known. An id in all queues needs one, since otherwise outcomes
        of the past do not come (R8).
        """
        after = first_after if self.after is None else self.after
        return {**self.item, "sub": self.sub} | ({} if after is None else {"after": after})


class RawClient:
    """Subscribes to jobs at random moments: before, while and after they run. Returns whenever it is cut off."""

    def __init__(self, name: str, jobs: list[Job], lives: Lives, random: Random, proxy: Proxy) -> None:
        self.ledger = Ledger(name, lives)
        self._random = random
        self._proxy = proxy
        self._rooms: dict[tuple[str | None, str], Room] = {}
        self._due: list[tuple[float, Room]] = []
        self._waiting: dict[int, list[tuple[int, Room]]] = {}
        self._by_sub: dict[int, Room] = {}
        self._numbers = itertools.count(1)
        for job in jobs:
            self._plan(job)
        self._due.sort(key=lambda each: each[0], reverse=True)

    def _plan(self, job: Job) -> None:
        # Some ids are subscribed to in all queues together, others in each queue.
        anywhere = int(job.job_id[1:]) % 4 == 0
        queue = None if anywhere else job.queue
        if (queue, job.job_id) in self._rooms:
            return
        self._add(job, queue, until_end=not anywhere and self._random.random() < 0.5)
        if self._random.random() < 0.3:  # a second subscription that also gets the job's events
            other = job.queue if anywhere else None
            if (other, job.job_id) not in self._rooms:
                self._add(job, other, until_end=self._random.random() < 0.5, is_extra=True)

    def _add(self, job: Job, queue: str | None, *, until_end: bool, is_extra: bool = False) -> None:
        events = self._random.choice((None, None, ["*"], ["completed", "failed", "progress"]))
        room = Room(queue, job.job_id, events, until_end=until_end, is_extra=is_extra)
        self._rooms[queue, job.job_id] = room
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
            for room in self._rooms.values():
                if room.sub:
                    self._note(room, "cut off")
            self._waiting.clear()
            self._by_sub.clear()
            self.ledger.alive.clear()
            await trio.sleep(self._random.uniform(0, wait))
            wait = min(2 * wait, 1.0)

    async def _talk(self, socket: trio_websocket.WebSocketConnection, started: float) -> None:
        hello = json.loads(await socket.get_message())
        assert hello["event"] == "hello"
        limit = hello["data"]["limits"]["maxSubscriptions"]
        for room in self._rooms.values():
            room.acked = False
        again = [room for room in self._rooms.values() if room.sub and not room.over]
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
            if self._random.random() < 0.03:
                await self._leave_and_return(socket)
            await trio.sleep(self._random.uniform(0, 2 * TICK_SECONDS))
            now = trio.current_time()
            again = [room for room in self._rooms.values() if room.again_at is not None and now >= room.again_at]

    async def _subscribe(self, socket: trio_websocket.WebSocketConnection, rooms: list[Room]) -> None:
        ref = next(self._numbers)
        items = []
        for room in rooms:
            room.sub = next(self._numbers)
            room.again_at = None
            room.told = False
            room.last.clear()
            self._by_sub[room.sub] = room
            items.append(room.message({} if room.queue is None else None))
            self._note(room, f"asks {items[-1]}")
        self._waiting[ref] = [(room.sub, room) for room in rooms]
        await socket.send_message(json.dumps({"event": "subscribe-job", "ref": ref, "data": items}))

    async def _leave_and_return(self, socket: trio_websocket.WebSocketConnection) -> None:
        """End a subscription, and send it again under a new name.

        Its ack may still be due. What comes for the old name later is ignored.
        """
        there = [room for room in self._by_sub.values() if not room.over]
        if there:
            room = self._random.choice(there)
            data = {"sub": room.sub, "jobId": room.job_id, "queue": room.queue}
            del self._by_sub[room.sub]
            room.acked = False
            self.ledger.counts["left and returned"] += 1
            await socket.send_message(json.dumps({"event": "unsubscribe-job", "data": data}))
            await self._subscribe(socket, [room])

    def _receive(self, frame: Frame) -> None:
        match frame["event"]:
            case "ack" if frame["data"]["request"] == "subscribe-job":
                self._acknowledge(self._waiting.pop(frame["ref"]), frame["data"])
            case "ack":
                pass
            case "pong":
                for room in self._by_sub.values():
                    if room.acked:
                        room.vouch(frame["data"]["after"])
                        self._note(room, f"pong {frame['data']['after']}")
            case "gap":
                self._gap(frame)
            case "error":
                self._refused(frame)
            case event:
                named = self._by_sub.get(frame["sub"])
                if named is not None:
                    self._event(named, event, frame)

    def _note(self, room: Room, what: str) -> None:
        self.ledger.history[room.job_id].append(f"{time.time():.3f} {room.queue} {what}")

    def _gap(self, frame: Frame) -> None:
        data = frame["data"]
        self.ledger.counts["gap frames"] += 1
        self.ledger.counts[f"gap: {data['reason']}"] += 1
        rooms = list(self._by_sub.values()) if "sub" not in frame else [self._by_sub.get(frame["sub"])]
        for room in rooms:
            if room is None or not room.acked or room.queue not in (None, data["queue"]):
                continue
            self._note(room, f"gap {frame}")
            if data["reason"] != "trimmed":
                assert room.after is not None
                room.after[data["queue"]] = "0-0"
                room.broken.add(data["queue"])
                room.last.pop(data["queue"], None)

    def _refused(self, frame: Frame) -> None:
        code = frame["data"]["code"]
        self.ledger.counts[f"error {code}"] += 1
        if code not in ("unavailable", "unknown-queue"):
            self.ledger.faults.append(f"{self.ledger.name}: {frame}")
        for sub, room in self._waiting.pop(frame.get("ref", 0), []):
            self._ask_again(sub, room)

    def _ask_again(self, sub: int, room: Room) -> None:
        if self._by_sub.pop(sub, None) is not None:
            room.again_at = trio.current_time() + AGAIN_SECONDS

    def _acknowledge(self, asked: list[tuple[int, Room]], data: Frame) -> None:
        for (sub, room), result in zip(asked, data["results"], strict=True):
            if "error" in result:
                self.ledger.counts[f"error {result['error']['code']}"] += 1
                self._ask_again(sub, room)
                continue
            if room.sub != sub:
                continue
            self.ledger.counts["gaps in acks"] += "gap" in result
            common = {} if room.queue is None else {room.queue: data.get("after", {}).get(room.queue)}
            room.after = {queue: at for queue, at in {**common, **result.get("after", {})}.items() if at is not None}
            if room.queue is not None and room.queue not in room.after:
                self.ledger.faults.append(f"{self.ledger.name}: an ack without a position: {result}")
            if "gap" in result:
                room.broken.update(room.after)
            room.acked = True
            if not room.is_extra:
                self.ledger.alive.update(
                    (job["queue"], job["jobId"]) for job in result["jobs"] if job["state"] not in OUTCOMES
                )
            self._note(room, f"ack {data.get('after')} {result}")

    def _event(self, room: Room, event: str, frame: Frame) -> None:
        data, at = frame["data"], frame.get("id")
        key: Key = (data["queue"], data["jobId"])
        if not room.acked:
            self.ledger.faults.append(f"{self.ledger.name}: an event before its ack: {frame}")
            return
        if room.over or room.job_id != key[1] or room.queue not in (None, key[0]):
            self.ledger.faults.append(f"{self.ledger.name}: an event that is not of its subscription: {frame}")
        self._note(room, f"{event} {at}")
        self.ledger.count_frame(at, replayed="replayed" in frame)
        from_hash = at is not None and "~" in at
        if at is not None:
            stream_id = at.partition("~")[0]
            before = room.last.get(key[0], "0-0")
            if position(stream_id) < position(before) or (at == before):
                self.ledger.faults.append(f"{self.ledger.name}: {frame} after {before}")
            if (key[0], at) in room.taken and key[0] not in room.broken:
                self.ledger.faults.append(f"{self.ledger.name}: {frame} came twice")
            room.taken.add((key[0], at))
            room.last[key[0]] = stream_id
            assert room.after is not None
            room.after[key[0]] = at
        elif event in OUTCOMES:
            self.ledger.faults.append(f"{self.ledger.name}: an outcome without an id: {frame}")
        if event in ALIVE and not room.told and not room.is_extra:
            self.ledger.alive.add(key)
        if event in OUTCOMES:
            room.told = True
            if room.until_end:
                room.over = True
                del self._by_sub[room.sub]
            if not room.is_extra and not (event == "removed" and data.get("prev") in ("completed", "failed")):
                may_repeat = not room.until_end and (from_hash or key[0] in room.broken)
                outcome = Outcome(at, "replayed" in frame, room.sub, may_repeat)
                self.ledger.note(key, event, data, outcome, over=room.until_end)
