"""A client that does what protocol.md requires of clients, and checks in every frame what clients may rely on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from jobws.protocol.identifiers import START, position
from jobws.protocol.messages import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.hub.world import Bridge, Redis, Written

Frame = dict[str, Any]


class Taken:
    """What a subscription has got of one event.

    Attributes:
        positioned: Whether its frame had a position.
        gaps: How many gaps came before.
        breaks: How many of these had a reason other than `trimmed`.
        hashed: How many gaps came before the event last came from the hash; -1 if it never did.
    """

    def __init__(self, *, positioned: bool, gaps: int, breaks: int, hashed: int) -> None:
        self.positioned = positioned
        self.gaps = gaps
        self.breaks = breaks
        self.hashed = hashed


class Watch:
    """A subscription, over many connections. It is to a job, or (`job_id` None) to a whole queue.

    Attributes:
        after: The positions by queue that the client keeps; None if the subscription was never acknowledged.
        due: The events that must come: those that happened after the positions, or while the subscription was
            acknowledged.
        taken: The events that came.
    """

    def __init__(
        self, redis: Redis, queue: str | None, job_id: str | None, events: Collection[str], *, until_end: bool
    ) -> None:
        self.redis = redis
        self.queue = queue
        self.job_id = job_id
        self.events = frozenset(events) | OUTCOMES if until_end else frozenset(events)
        self.until_end = until_end
        self.sub = 0
        self.after: dict[str, str] | None = None
        self.acked = False
        self.over = False
        self.known = False
        self.told_gone: set[str] = set()
        self.due: dict[int, Written] = {}
        self.taken: dict[int, Taken] = {}
        self.gaps: dict[str, int] = {}
        self.breaks: dict[str, int] = {}
        # When the first ack came, and when it said that old outcomes are not sent (`ambiguous`).
        self.began_at = -1
        self.ambiguous_at: int | None = None
        self.last: dict[str, tuple[int, int]] = {}
        self.before: dict[str, str] = {}

    def concerns(self, event: Written) -> bool:
        return self.job_id in (None, event.job_id) and self.queue in (None, event.queue)

    def chooses(self, name: str) -> bool:
        return "*" in self.events or name in self.events

    def gap(self, queue: str, at: int) -> None:
        """Take a gap: events that happened up to then may be missing."""
        self.gaps[queue] = self.gaps.get(queue, 0) + 1
        self.due = {n: each for n, each in self.due.items() if each.queue != queue or each.at > at}

    def happened(self, event: Written) -> None:
        if self.over or self.after is None or not self.concerns(event) or not self.chooses(event.name):
            return
        if event.queue not in self.redis.quiet and (self.acked or event.queue in self.after):
            self.due[event.number] = event

    def disconnect(self, missed: set[int]) -> None:
        """End the acknowledged state.

        Events of a queue without a position need not come any more, nor those that the bridge did not know to be lost
        (`missed`).
        """
        self.acked = False
        self.last.clear()
        after = self.after or {}
        self.due = {n: each for n, each in self.due.items() if each.queue in after and n not in missed}

    # ---- frames ----

    def acknowledge(self, result: Frame, common: dict[str, str], at: int) -> None:
        first = self.after is None
        self.before = dict(self.after or {})
        self.acked = True
        own = result.get("after", {})
        self.after = {**common, **own} if self.queue is None else {self.queue: {**common, **own}[self.queue]}
        if first:
            self.began_at = at
            if result.get("ambiguous"):
                self.ambiguous_at = self.redis.moment
        if result.get("gap"):
            assert self.redis.has_lost, "nothing was lost"
            for queue in self.redis.queues if self.queue is None else (self.queue,):
                self.gap(queue, at)
                if self.job_id is None and self.after[queue] == START:
                    self.breaks[queue] = self.breaks.get(queue, 0) + 1
        if result.get("unknown"):
            if self.known:
                self.told_gone.update(self.redis.queues)
            self.known = False
        else:
            self.known = True
        # A queue without a position in the ack has no events of the job.
        had = dict(self.after)
        self.due = {n: each for n, each in self.due.items() if each.queue in had and self.is_kept(each)}
        for queue in self.after:
            self.reached(queue, self.after[queue], "ack")

    def is_kept(self, event: Written) -> bool:
        """Whether the event must still come. After the position `0-0` comes what the stream still has, and no more."""
        return self.before.get(event.queue) != START or self.redis.has(event.number)

    def reached(self, queue: str, text: str, why: str) -> None:
        """Check a position: no event that must come may be before it."""
        at = position(text.partition("~")[0])
        late = [each for each in self.due.values() if each.queue == queue and position(each.stream_id) <= at]
        late = [each for each in late if each.number not in self.missed_here]
        assert not late, f"{why} {text} skips {late}"

    missed_here: ClassVar[set[int]] = set()
    unordered_here: ClassVar[set[str]] = set()

    def take(self, frame: Frame, at: int) -> None:
        name, data, text = frame["event"], frame["data"], frame.get("id")
        queue = data["queue"]
        assert self.acked, "a frame before the ack"
        assert self.job_id in (None, data["jobId"])
        assert self.queue in (None, queue)
        assert self.chooses(name), f"{name} was not chosen"
        assert name not in OUTCOMES or text is not None or self.job_id is None, "an outcome has a position"
        number = int(data.get("n") or data.get("returnvalue") or data.get("failedReason") or 0)
        previous = (self.after or {}).get(queue, START)
        if number:
            self.note(number, name, text, previous, at)
        else:
            assert name == "removed"
        if text is not None and "~" not in text:
            event_id = position(text)
            is_in_order = event_id > self.last.get(queue, (0, 0))
            assert is_in_order or queue in self.unordered_here, f"out of order: {frame}"
            self.last[queue] = event_id
        elif text is not None:
            is_in_order = position(text.partition("~")[0]) >= position(previous.partition("~")[0])
            assert is_in_order or queue in (*self.unordered_here, *self.redis.quiet), f"back to {text}"
        if name == "removed":
            self.told_gone.add(queue)
        else:
            self.told_gone.discard(queue)
        if name == "progress" and not frame.get("replayed"):
            self.supersede(queue, number)
        if text is not None:
            assert self.after is not None
            self.after[queue] = text
            self.reached(queue, text, name)
        self.known = name not in OUTCOMES
        if name in OUTCOMES and self.until_end:
            self.over = True
            self.due.clear()

    def supersede(self, queue: str, number: int) -> None:
        """Take progress that may stand for earlier updates of the job: these need not come any more."""
        self.due = {
            n: each for n, each in self.due.items() if (each.queue, each.name) != (queue, "progress") or n > number
        }

    def note(self, number: int, name: str, text: str | None, previous: str, at: int) -> None:
        event = self.redis.written[number]
        assert event.name == name
        assert self.concerns(event)
        known = self.taken.get(number)
        gaps = self.gaps.get(event.queue, 0)
        if known is not None:
            from_hash = text is not None and "~" in text
            broken = self.breaks.get(event.queue, 0) > known.breaks or event.queue in self.unordered_here
            after_gap = gaps > max(known.hashed, 0) if from_hash else gaps > known.gaps
            lost = (
                self.job_id is not None
                and name in OUTCOMES
                and (after_gap or (from_hash and not self.redis.has(number)))
            )
            assert not known.positioned or broken or (lost and not self.until_end), f"twice: {event}"
            if from_hash:
                assert text is not None
                # A backup that is restored may bring back a hash that was another one when the client returned.
                sent = START if self.redis.restored_at >= 0 else self.before.get(event.queue, START)
                had = [each.partition("~")[2] for each in (previous, sent)]
                assert text.partition("~")[2] not in had, f"again: {event}"
        hashed = gaps if text is not None and "~" in text else known.hashed if known is not None else -1
        breaks = self.breaks.get(event.queue, 0)
        self.taken[number] = Taken(positioned=text is not None, gaps=gaps, breaks=breaks, hashed=hashed)
        self.due.pop(number, None)


class Client:
    """A client with its subscriptions, over one connection after the other."""

    def __init__(self, redis: Redis, bridge: Bridge) -> None:
        self.redis = redis
        self.watches: list[Watch] = []
        self.subs: dict[int, Watch] = {}
        self.refs: dict[int, list[int]] = {}
        self.count = 0
        self.connect(bridge)

    def connect(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.hub_client = bridge.connect()
        self.inbox: list[tuple[int, Frame]] = []
        self.subs.clear()
        self.refs.clear()

    def disconnect(self, keep: int) -> None:
        """Break the connection. Of the frames that were under way, the first `keep` arrive."""
        self.fetch()
        self.take(keep)
        self.bridge.disconnect(self.hub_client)
        for watch in self.watches:
            watch.disconnect(self.bridge.missed)

    def subscribe(self, watches: list[Watch], *, many: bool, common: bool) -> None:
        """Subscribe in one request.

        `common` means that keys with the same value in all items are given once for the list.
        """
        of_queues = [watch for watch in watches if watch.job_id is None]
        if of_queues and len(of_queues) < len(watches):
            self.subscribe(of_queues, many=many, common=common)
            watches = [watch for watch in watches if watch.job_id is not None]
        what = "queue" if watches[0].job_id is None else "job"
        items, subs = [], []
        for watch in watches:
            self.count += 1
            self.subs[self.count] = watch
            watch.sub = self.count
            watch.last.clear()
            item: dict[str, object] = {"sub": self.count, "events": sorted(watch.events)}
            if watch.job_id is not None:
                item["jobId"] = watch.job_id
            if watch.queue is not None or watch.job_id is None:
                item["queue"] = watch.queue or "*"
            if watch.until_end:
                item["until"] = "end"
            if watch.after is not None:
                item["after"] = dict(watch.after)
            items.append(item)
            subs.append(self.count)
        self.count += 1
        self.refs[self.count] = subs
        data: object = items if many else items[0]
        if common and many and all("queue" in item for item in items) and len({item["queue"] for item in items}) == 1:
            data = {
                f"{what}s": [{k: v for k, v in item.items() if k != "queue"} for item in items],
                "queue": items[0]["queue"],
            }
        self.bridge.receive(self.hub_client, {"event": f"subscribe-{what}", "data": data, "ref": self.count})

    def leave(self, watch: Watch) -> None:
        """Unsubscribe, and forget the frames that are under way for this subscription."""
        self.subs.pop(watch.sub, None)
        data = {"sub": watch.sub, "jobId": watch.job_id, "queue": watch.queue}
        if watch.job_id is None:
            data["queue"] = watch.queue or "*"
        what = "queue" if watch.job_id is None else "job"
        self.bridge.receive(self.hub_client, {"event": f"unsubscribe-{what}", "data": data})
        watch.acked = False

    def ping(self) -> None:
        self.bridge.receive(self.hub_client, {"event": "ping"})

    def fetch(self) -> None:
        """Move the frames that the bridge has sent to those under way."""
        self.inbox += [(self.redis.step, json.loads(frame.payload)) for frame in self.hub_client.outbox.take()]
        self.hub_client.outbox.written()

    def take(self, count: int) -> None:
        for at, frame in self.inbox[:count]:
            self._take(frame, at)
        del self.inbox[:count]

    def _take(self, frame: Frame, at: int) -> None:
        data = frame["data"]
        Watch.missed_here, Watch.unordered_here = self.bridge.missed, self.bridge.unordered
        match frame["event"]:
            case "ack" if data["request"].startswith("subscribe-"):
                subs = self.refs.pop(frame["ref"])
                results = data.get("results", [data])
                assert len(results) == len(subs)
                for sub, result in zip(subs, results, strict=True):
                    if sub in self.subs and "error" not in result:
                        self.subs[sub].acknowledge(result, data.get("after", {}) if "results" in data else {}, at)
            case "ack" | "error":
                pass
            case "pong":
                for watch in self.subs.values():
                    if watch.acked and not watch.over:
                        self._vouch(watch, data["after"])
            case "gap":
                self._gap(frame, at)
            case _ if frame["sub"] in self.subs:
                watch = self.subs[frame["sub"]]
                assert not watch.over, "a frame after the end"
                watch.take(frame, at)
            case _:
                pass

    def _vouch(self, watch: Watch, positions: dict[str, str]) -> None:
        assert watch.after is not None
        for queue, text in positions.items():
            if watch.queue not in (None, queue):
                continue
            watch.reached(queue, text, "pong")
            known = watch.after.get(queue)
            if known is None:
                watch.after[queue] = text
            elif position(text) > position(known.partition("~")[0]):
                watch.after[queue] = "".join((text, *known.partition("~")[1:]))

    def _gap(self, frame: Frame, at: int) -> None:
        data = frame["data"]
        queue = data["queue"]
        if "sub" in frame:
            watches = [self.subs[frame["sub"]]] if frame["sub"] in self.subs else []
        else:
            watches = [watch for watch in self.subs.values() if data["jobs"] is None or watch.job_id in data["jobs"]]
        for watch in watches:
            if watch.acked and not watch.over and watch.queue in (None, queue):
                watch.gap(queue, at)
                if data["reason"] != "trimmed":
                    assert watch.after is not None
                    watch.after[queue] = watch.before[queue] = START
                    watch.breaks[queue] = watch.breaks.get(queue, 0) + 1
                    watch.last.pop(queue, None)
