"""A bridge in memory, as protocol.md describes it, for tests of the client's pure part. Everything happens in steps."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from jobws.client.event import decode_frame
from jobws.client.rooms import Rooms
from jobws.client.watcher import Answer, Delivery, Refusal, Watcher
from jobws.protocol.messages import OUTCOMES, HelloData, Limits, Room

QUEUES = ("a", "b")


class Entry(NamedTuple):
    """An entry of a queue's stream."""

    number: int
    queue: str
    job: str
    event: str

    @property
    def id(self) -> str:
        return f"{self.number}-0"


class Member:
    """A subscription at the bridge."""

    def __init__(self, events: set[str] | None, after: dict[str, str] | None) -> None:
        self.events = events
        self.after = after
        self.live = False
        self.since = 0
        self.ended = False
        self.held: list[tuple[Entry, list[bool]]] = []

    def wants(self, entry: Entry) -> bool:
        return self.events is None or entry.event in self.events


class Model:
    """Queues, their jobs, and one client's connection to the bridge of them.

    Attributes:
        stream: Every entry, in order; their numbers are one sequence over all queues.
        exists: The jobs that have a hash.
        to_client: Frames under way.
        to_bridge: Requests under way.
        most: Most rooms that the connection has had at once.
    """

    def __init__(self, max_subscriptions: int = 3) -> None:
        self.limits = Limits(600, 4096000, max_subscriptions)
        self.stream: list[Entry] = []
        self.exists: set[tuple[str, str]] = set()
        self.to_client: list[str] = []
        self.to_bridge: list[dict[str, Any]] = []
        self.most = 0
        self._members: dict[Room, Member] = {}
        self._joins: list[tuple[dict[str, Any], list[Member], int]] = []
        self._paced: list[tuple[Room, Member, list[Entry], int]] = []

    @property
    def end(self) -> int:
        return len(self.stream)

    @property
    def busy(self) -> bool:
        return bool(self.to_client or self.to_bridge or self._joins or self._paced)

    def hello(self) -> HelloData:
        return HelloData("jobws.v1", "model", 20.0, self.limits)

    def cut(self) -> None:
        """The connection is gone, and all that was under way."""
        for each in (self.to_client, self.to_bridge, self._members, self._joins, self._paced):
            each.clear()

    # ---- jobs ----

    def emit(self, queue: str, job: str, event: str) -> None:
        """Something happens to a job."""
        entry = Entry(self.end + 1, queue, job, event)
        self.stream.append(entry)
        self.exists.add((queue, job))
        if event == "removed":
            self.exists.discard((queue, job))
        matching = [(room, member) for room in _rooms_of(entry) if (member := self._members.get(room)) is not None]
        live = any(member.live and member.wants(entry) for _, member in matching)
        if live:
            self._send(entry, replayed=False)
        sent = [live]  # shared: each event goes out once, however many rooms match
        for room, member in matching:
            if not member.live and member.wants(entry) and not live:
                member.held.append((entry, sent))
            if event in OUTCOMES:
                member.ended = True
                if member.live:
                    del self._members[room]

    def vanish(self, queue: str, job: str) -> None:
        """A job is gone without a word; the sweep finds it for those who are subscribed."""
        if (queue, job) in self.exists:
            self.exists.discard((queue, job))
            rooms = [room for room in (Room(queue, job), Room(None, job)) if room in self._members]
            if any(self._members[room].live for room in rooms):
                self._frame("removed", {"queue": queue, "jobId": job}, replayed=True)
            for room in rooms:
                if self._members[room].live:
                    del self._members[room]

    # ---- requests ----

    def process(self) -> None:
        """Take one request."""
        request = self.to_bridge.pop(0)
        if request["event"] == "ping":
            sent = min([self.end, *(begin for *_, begin in self._paced)])
            self._frame("pong", {"cursor": dict.fromkeys(QUEUES, f"{sent}-0")}, ref=request["ref"])
            return
        items = request["data"]["jobs"]
        assert len(items) <= self.limits.max_subscriptions
        if request["event"] == "unsubscribe-job":
            for item in items:
                self._members.pop(_room(item), None)
            self._frame("ack", {"request": "unsubscribe-job", "results": []}, ref=request["ref"])
            return
        members = []
        for item in items:
            room = _room(item)
            events = item.get("events", list(OUTCOMES))
            member = Member(None if events == ["*"] else set(events), item.get("after"))
            member.since = self.end
            old = self._members.pop(room, None)
            if old is not None:
                member.held = [held for held in old.held if member.wants(held[0])]
            if len(self._members) < self.limits.max_subscriptions:
                self._members[room] = member
            members.append(member)
        self.most = max(self.most, len(self._members))
        self._joins.append((request, members, self.end))

    def complete(self) -> None:
        """Acknowledge the oldest join, or let one of its jobs go live."""
        if self._paced:
            self._go_live(*self._paced.pop(0))
            return
        request, members, begin = self._joins.pop(0)
        results: list[dict[str, Any]] = []
        paced = []
        for item, member in zip(request["data"]["jobs"], members, strict=True):
            room = _room(item)
            if self._members.get(room) is not member:
                code = "too-many-subscriptions" if room not in self._members else "unsubscribed"
                results.append({"error": {"code": code, "message": "left, or never in"}})
                continue
            queues = QUEUES if room.queue is None else (room.queue,)
            found = [queue for queue in queues if (queue, room.job_id) in self.exists]
            replay = self._replay(room, member)
            first = [entry.number for entry in (*replay, *(entry for entry, _ in member.held))]
            begin = min([begin, *(number - 1 for number in first)])
            jobs = [{"queue": queue, "jobId": room.job_id, "state": "active"} for queue in found]
            results.append({"jobs": jobs, **({"replays": len(replay)} if replay else {})})
            paced.append((room, member, replay))
        self._paced += [(*each, begin) for each in paced]
        data = {"request": "subscribe-job", "results": results, "cursor": dict.fromkeys(QUEUES, f"{begin}-0")}
        self._frame("ack", data, ref=request["ref"])
        for each in list(self._paced):
            if not each[2]:
                self._paced.remove(each)
                self._go_live(*each)

    def _replay(self, room: Room, member: Member) -> list[Entry]:
        before = [entry for entry in self.stream[: member.since] if room in _rooms_of(entry)]
        held = {entry.number for entry, _ in member.held}
        if member.after is None:
            replay = [entry for queue in QUEUES if (entry := _present_outcome(before, queue)) is not None]
        else:
            replay = [entry for entry in before if entry.number > _number(member.after.get(entry.queue, "0-0"))]
        return [entry for entry in replay if member.wants(entry) and entry.number not in held]

    def _go_live(self, room: Room, member: Member, replay: list[Entry], _begin: int) -> None:
        if self._members.get(room) is not member:
            return
        member.live = True
        for entry in replay:
            self._send(entry, replayed=True)
        for entry, sent in member.held:
            if not sent[0]:
                self._send(entry, replayed=False)
            sent[0] = True
        told = [*replay, *(entry for entry, _ in member.held)]
        if member.ended or any(entry.event in OUTCOMES for entry in told):
            self._members.pop(room, None)

    def _send(self, entry: Entry, *, replayed: bool) -> None:
        self._frame(entry.event, {"queue": entry.queue, "jobId": entry.job}, id=entry.id, replayed=replayed)

    def _frame(self, event: str, data: object, **keys: object) -> None:
        self.to_client.append(json.dumps({"event": event, "data": data, **keys}))


class User:
    """A watcher and what it was handed."""

    def __init__(self, rooms: list[Room], events: frozenset[str] | None, *, strict: bool = False) -> None:
        self.events: dict[Room, list[Any]] = {room: [] for room in rooms}
        self.ends: dict[Room, list[object]] = {room: [] for room in rooms}
        self.answers: list[Room] = []
        self.watcher = Watcher(rooms, events, strict=strict, gaps=True, put=self._put)

    def _put(self, item: Answer | Delivery | Refusal) -> None:
        match item:
            case Answer():
                self.answers.append(item.room)
            case Delivery():
                self.events[item.room].append(item.event)
                if item.event.event in OUTCOMES:
                    self.ends[item.room].append(item.event)
            case Refusal():
                self.ends[item.room].append(item.error)


class Pair:
    """The model, a client's rooms, and a clock."""

    def __init__(self, max_subscriptions: int = 3) -> None:
        self.model = Model(max_subscriptions)
        self.rooms = Rooms(lambda: 0.5)
        self.now = 0.0
        self.connected = False
        self.sent = 0

    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.rooms.connected(self.model.hello(), self.now)

    def cut(self) -> None:
        self.connected = False
        self.model.cut()
        self.rooms.disconnected()

    def flush(self) -> None:
        for text in self.rooms.requests(self.now):
            assert len(text) <= self.model.limits.max_message
            self.model.to_bridge.append(json.loads(text))
            self.sent += 1

    def deliver(self) -> None:
        text = self.model.to_client.pop(0)
        self.rooms.receive(decode_frame(text), len(text), self.now)

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything come to rest, and again until so much time has passed."""
        self.connect()
        end = self.now + seconds
        while self.advance() or self.now < end:
            if not self.model.busy:
                self.now += 0.5

    def advance(self) -> bool:
        """One step; False: nothing was to be done."""
        self.flush()
        if self.model.to_bridge:
            self.model.process()
        elif self.model.to_client:
            self.deliver()
        elif self.model.busy:
            self.model.complete()
        else:
            return False
        return True


def _rooms_of(entry: Entry) -> tuple[Room, Room]:
    return Room(entry.queue, entry.job), Room(None, entry.job)


def _room(item: dict[str, Any]) -> Room:
    return Room(item.get("queue"), item["jobId"])


def _number(id: str) -> int:
    return int(id.split("-")[0])


def _present_outcome(entries: list[Entry], queue: str) -> Entry | None:
    for entry in reversed(entries):
        if entry.queue == queue:
            if entry.event in OUTCOMES and entry.event != "removed":
                return entry
            if entry.event in ("waiting", "added", "removed"):
                return None
    return None
