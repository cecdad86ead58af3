"""A bridge in memory that follows protocol.md, for tests of the client's pure part. Everything happens in steps.

A stream may be deleted and begin again with lower ids, as after a failover to a Redis whose clock is behind.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

from jobws.protocol.messages import OUTCOMES, HelloData, Limits

QUEUES = ("a", "b")
# By how much the ids of a stream are lower after it began again.
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
    """A subscription, as the bridge knows it."""

    def __init__(self, item: dict[str, Any], since: int) -> None:
        self.sub = item["sub"]
        self.queue: str | None = item.get("queue")
        self.job: str = item["jobId"]
        events = set(item.get("events", OUTCOMES))
        self.events = None if "*" in events else events | OUTCOMES
        self.after: dict[str, str] | None = item.get("after")
        self.since = since
        self.live = False
        self.held: list[Entry] = []

    def wants(self, entry: Entry) -> bool:
        named = entry.job == self.job and self.queue in (None, entry.queue)
        return named and (self.events is None or entry.event in self.events)


class Model:
    """Queues with jobs, and a client's connection to their bridge.

    Attributes:
        stream: Every entry of all queues, in order. Its number is its index.
        exists: The jobs that have a hash.
        members: The subscriptions of the connection.
        to_client: The frames that are under way.
        to_bridge: The requests that are under way.
        most: The largest number of subscriptions that the connection has had together; `most_of_one`, that to one job.
    """

    def __init__(self, max_subscriptions: int = 3, streams: int = 1) -> None:
        """Make the model. `streams` is how many streams each queue has at most, one after the other."""
        # An entry's id is made of this number and its index in `stream`. Entries of the queue before the second index
        # are gone.
        self._base = dict.fromkeys(QUEUES, (streams - 1) * LOWER)
        self._gone = dict.fromkeys(QUEUES, 0)
        self.limits = Limits(600, 4096000, max_subscriptions)
        self.stream: list[Entry] = []
        self.exists: set[tuple[str, str]] = set()
        self.members: list[Member] = []
        self.to_client: list[str] = []
        self.to_bridge: list[dict[str, Any]] = []
        self.most = self.most_of_one = 0
        self._names: set[int] = set()
        self._joins: list[tuple[dict[str, Any], list[Member]]] = []
        self._paced: list[tuple[Member, list[Entry], int]] = []

    @property
    def end(self) -> int:
        return len(self.stream)

    @property
    def busy(self) -> bool:
        return bool(self.to_client or self.to_bridge or self._joins or self._paced)

    def hello(self) -> HelloData:
        return HelloData("jobws.v1", "model", 20.0, self.limits)

    def cut(self) -> None:
        """End the connection. Everything that was under way is lost."""
        for each in (self.to_client, self.to_bridge, self.members, self._names, self._joins, self._paced):
            each.clear()

    # ---- jobs ----

    def emit(self, queue: str, job: str, event: str) -> None:
        """Let something happen to a job."""
        entry = Entry(self._base[queue] + self.end + 1, queue, job, event)
        self.stream.append(entry)
        self.exists.add((queue, job))
        if event == "removed":
            self.exists.discard((queue, job))
        for member in [each for each in self.members if each.wants(entry)]:
            if member.live:
                self._send(member, entry, replayed=False)
            else:
                member.held.append(entry)

    def vanish(self, queue: str, job: str) -> None:
        """Remove a job without an event. The sweep finds this for subscribers."""
        if (queue, job) in self.exists:
            self.exists.discard((queue, job))
            for member in [each for each in self.members if each.job == job and each.queue in (None, queue)]:
                if member.live:
                    id = f"{self._after()[queue]}~"
                    self._frame("removed", {"queue": queue, "jobId": job}, sub=member.sub, id=id, replayed=True)
                    self.members.remove(member)

    def begin_again(self, queue: str) -> None:
        """Delete the stream, if there may be another one. Outcomes in it are then only in hashes."""
        if self._base[queue] > 0:
            self._base[queue] -= LOWER
            self._gone[queue] = self.end
            if any(member.queue in (queue, None) for member in self.members):
                self._frame("gap", {"queue": queue, "reason": "recreated", "jobs": None})

    # ---- requests ----

    def process(self) -> None:
        """Serve one request."""
        request = self.to_bridge.pop(0)
        if request["event"] == "ping":
            sent = min([self.end, *(begin for *_, begin in self._paced)])
            self._frame("pong", {"after": self._after(sent)})
            return
        items = request["data"]["jobs"]
        assert len(items) <= self.limits.max_subscriptions
        if request["event"] == "unsubscribe-job":
            left = [(item["sub"], item.get("queue"), item["jobId"]) for item in items]
            self.members = [each for each in self.members if (each.sub, each.queue, each.job) not in left]
            results = [{"left": True} for _ in items]
            self._frame("ack", {"request": "unsubscribe-job", "results": results}, ref=request["ref"])
            return
        assert request["data"]["until"] == "end"
        members = [Member(item, self.end) for item in items]
        for member in members:
            assert member.sub not in self._names
            self._names.add(member.sub)
            assert len(self.members) < self.limits.max_subscriptions
            self.members.append(member)
        self.most = max(self.most, len(self.members))
        self.most_of_one = max([self.most_of_one, *Counter(each.job for each in self.members).values()])
        self._joins.append((request, members))

    def complete(self) -> None:
        """Acknowledge the oldest request to subscribe, or let one of its subscriptions get events as they happen."""
        if self._paced:
            self._go_live(*self._paced.pop(0))
            return
        request, members = self._joins.pop(0)
        results: list[dict[str, Any]] = []
        paced = []
        for member in members:
            if member not in self.members:
                results.append({"error": {"code": "unsubscribed", "message": "it was left"}})
                continue
            queues = QUEUES if member.queue is None else (member.queue,)
            found = [queue for queue in queues if (queue, member.job) in self.exists]
            replay = self._replay(member)
            begin = min([member.since, *(self._place(entry) for entry in (*replay, *member.held))])
            result: dict[str, Any] = {
                "jobs": [{"queue": queue, "jobId": member.job, "state": "active"} for queue in found]
            }
            after = self._after(begin)
            result["after"] = {queue: after[queue] for queue in queues}
            if not found and not replay and not member.held:
                result["unknown"] = True
            if any(self._is_of_another(queue, member) for queue in queues):
                result["gap"] = True
            results.append(result)
            paced.append((member, replay, begin))
        self._paced += paced
        # Each item for which this is not true overrides it.
        data = {"request": "subscribe-job", "results": results, "after": self._after()}
        self._frame("ack", data, ref=request["ref"])
        for each in paced:
            if not each[1]:
                self._paced.remove(each)
                self._go_live(*each)

    def _replay(self, member: Member) -> list[Entry]:
        before = [entry for entry in self.stream[: member.since] if member.wants(entry)]
        jobs = [entry for entry in self.stream[: member.since] if entry.job == member.job]
        outcomes = [entry for queue in QUEUES if (entry := _present_outcome(jobs, queue)) is not None]
        # Outcomes that the stream no longer has are made from the hash, if it exists.
        outcomes = [entry for entry in outcomes if self._has(entry) or (entry.queue, entry.job) in self.exists]
        if member.after is None:
            return [entry for entry in before if entry in outcomes]
        return [entry for entry in before if self._follows(entry, member, outcomes)]

    def _follows(self, entry: Entry, member: Member, outcomes: list[Entry]) -> bool:
        assert member.after is not None
        after = member.after.get(entry.queue)
        if after is None or self._is_of_another(entry.queue, member) or _number(after) == 0:
            return entry in outcomes or (after is not None and self._has(entry))
        return entry.number > _number(after) and (self._has(entry) or entry in outcomes)

    def _has(self, entry: Entry) -> bool:
        """Whether the queue's stream still has this entry."""
        return self._place(entry) >= self._gone[entry.queue]

    def _place(self, entry: Entry) -> int:
        return self.stream.index(entry)

    def _is_of_another(self, queue: str, member: Member) -> bool:
        """Whether the client's position is from a stream that was deleted."""
        after = (member.after or {}).get(queue)
        return after is not None and _number(after) > self._base[queue] + self.end

    def _after(self, place: int | None = None) -> dict[str, str]:
        return {queue: f"{base + (self.end if place is None else place)}-0" for queue, base in self._base.items()}

    def _go_live(self, member: Member, replay: list[Entry], _begin: int) -> None:
        if member not in self.members:
            return
        member.live = True
        for entry in replay:
            self._send(member, entry, replayed=True)
        for entry in member.held:
            self._send(member, entry, replayed=False)

    def _send(self, member: Member, entry: Entry, *, replayed: bool) -> None:
        if member not in self.members:  # it ended
            return
        id = entry.id if self._has(entry) or not replayed else f"{self._after()[entry.queue]}~{entry.number}"
        data = {"queue": entry.queue, "jobId": entry.job, "number": entry.number}
        self._frame(entry.event, data, sub=member.sub, id=id, **({"replayed": True} if replayed else {}))
        if entry.event in OUTCOMES:
            self.members.remove(member)

    def _frame(self, event: str, data: object, **keys: object) -> None:
        self.to_client.append(json.dumps({"event": event, "data": data, **keys}))


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
