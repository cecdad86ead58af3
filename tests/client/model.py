"""A bridge in memory, as protocol.md describes it, for tests of the client's pure part. Everything happens in steps.

A stream may be deleted and begin anew with lower ids, as after a failover to a Redis whose clock is behind.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from jobws.protocol.messages import OUTCOMES, HelloData, Limits, Room

QUEUES = ("a", "b")
# How much lower the ids of a stream are that began anew.
LOWER = 1_000_000


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

    def __init__(self, max_subscriptions: int = 3, streams: int = 1) -> None:
        """`streams`: how many each queue has at most, one after the other."""
        # An entry's number is this and its place in `stream`; before the second place its queue has no entry any more.
        self._base = dict.fromkeys(QUEUES, (streams - 1) * LOWER)
        self._gone = dict.fromkeys(QUEUES, 0)
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
        entry = Entry(self._base[queue] + self.end + 1, queue, job, event)
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

    def begin_again(self, queue: str) -> None:
        """The stream is deleted, as long as there may be another one: what it held is only told by hashes."""
        if self._base[queue] > 0:
            self._base[queue] -= LOWER
            self._gone[queue] = self.end
            if any(room.queue in (queue, None) for room in self._members):
                data = {"queue": queue, "reason": "recreated", "jobs": None, "cursor": {queue: self._cursor()[queue]}}
                self._frame("gap", data)

    # ---- requests ----

    def process(self) -> None:
        """Take one request."""
        request = self.to_bridge.pop(0)
        if request["event"] == "ping":
            sent = min([self.end, *(begin for *_, begin in self._paced)])
            self._frame("pong", {"cursor": self._cursor(sent)}, ref=request["ref"])
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
            first = [self._place(entry) for entry in (*replay, *(entry for entry, _ in member.held))]
            begin = min([begin, *first])
            jobs = [{"queue": queue, "jobId": room.job_id, "state": "active"} for queue in found]
            replays = len(replay) + sum(not sent[0] for _, sent in member.held)
            gap = any(self._is_of_another(queue, member) for queue in queues)
            results.append(
                {"jobs": jobs, **({"replays": replays} if replays else {}), **({"gap": True} if gap else {})}
            )
            paced.append((room, member, replay))
        self._paced += [(*each, begin) for each in paced]
        data = {"request": "subscribe-job", "results": results, "cursor": self._cursor(begin)}
        self._frame("ack", data, ref=request["ref"])
        for each in list(self._paced):
            if not each[2]:
                self._paced.remove(each)
                self._go_live(*each)

    def _replay(self, room: Room, member: Member) -> list[Entry]:
        before = [entry for entry in self.stream[: member.since] if room in _rooms_of(entry)]
        held = {entry.id for entry, _ in member.held}
        outcomes = [entry for queue in QUEUES if (entry := _present_outcome(before, queue)) is not None]
        # Those that the stream has not any more are made from the hash, as long as there is one.
        outcomes = [entry for entry in outcomes if self._has(entry) or (entry.queue, entry.job) in self.exists]
        if member.after is None:
            replay = outcomes
        else:
            lost = [entry for entry in outcomes if self._is_of_another(entry.queue, member)]
            behind = [entry for entry in before if entry.number > _number(member.after.get(entry.queue, "0-0"))]
            replay = [entry for entry in before if entry in lost or (entry in behind and self._has(entry))]
        return [entry for entry in replay if member.wants(entry) and entry.id not in held]

    def _has(self, entry: Entry) -> bool:
        """Whether the queue's stream still does."""
        return self._place(entry) >= self._gone[entry.queue]

    def _place(self, entry: Entry) -> int:
        return self.stream.index(entry)

    def _is_of_another(self, queue: str, member: Member) -> bool:
        """Whether the client's position is of a stream that is gone."""
        return member.after is not None and _number(member.after.get(queue, "0-0")) > self._base[queue] + self.end

    def _cursor(self, place: int | None = None) -> dict[str, str]:
        return {queue: f"{base + (self.end if place is None else place)}-0" for queue, base in self._base.items()}

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
        id = {"id": entry.id} if self._has(entry) or not replayed else {}
        self._frame(entry.event, {"queue": entry.queue, "jobId": entry.job}, **id, replayed=replayed)

    def _frame(self, event: str, data: object, **keys: object) -> None:
        self.to_client.append(json.dumps({"event": event, "data": data, **keys}))


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
