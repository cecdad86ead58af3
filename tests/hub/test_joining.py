"""No interleaving of joins, events, look-ups, lag, trimming, holes, restarts, leaving and coming back loses an outcome.

A model of Redis (streams and hashes) changes while the hub reads it late. At the end every client of a job whose last
life has an outcome must have got just that outcome, once; without a queue, that of every queue.
"""

from __future__ import annotations

import json
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET, Raw

from jobws.bullmq.events import Kind, kind_of
from jobws.bullmq.snapshot import LookUp
from jobws.hub.connection import Connection
from jobws.hub.fanout import Fanout
from jobws.hub.lacking import FINISHED, Unsettled, lacks
from jobws.hub.membership import Membership
from jobws.hub.replaying import replay, settle
from jobws.hub.rooms import Rooms
from jobws.protocol.identifiers import START, before, position
from jobws.protocol.messages import OUTCOMES, ItemError, JobSnapshot
from jobws.protocol.session import Session
from tests.support.steps import do_all, jobs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.joining import Join

# Few of each, so that what happens concerns the same job. A model has one to three of the queues.
QUEUES = ("http", "sparql", "analyzer")
JOBS = ("1", "2")
EVENTS = ("added", "active", "progress", "completed", "failed")


class Room:
    """What a client keeps of one subscription: the positions to resume from, and the outcomes that came.

    Attributes:
        cursor: By queue; None: there was no ack yet.
        here: The outcomes of the present connection.
        gone: The queues that told that they have no such job.
        acked: Whether this subscription was answered on it.
        shared: Whether another subscription of the client was to the same job: then an outcome may come for either.
        membership: What the bridge has of it.
    """

    def __init__(self, queue: str | None, job_id: str, *, until_end: bool) -> None:
        self.queue = queue
        self.job_id = job_id
        self.until_end = until_end
        self.cursor: dict[str, str] | None = None
        self.outcomes: list[tuple[object, str | None]] = []
        self.here: set[object] = set()
        self.gone: set[str] = set()
        self.acked = False
        self.shared = False
        self.membership: Membership | None = None

    def concerns(self, queue: str, job_id: str) -> bool:
        return self.queue in (None, queue) and self.job_id == job_id

    def reach(self, cursor: dict[str, str]) -> None:
        """Take a position, where that is later."""
        for queue, stream_id in cursor.items():
            if self.queue not in (None, queue):
                continue
            if self.cursor is not None and position(stream_id) > position(self.cursor.get(queue, START)):
                self.cursor[queue] = stream_id

    def take(self, frame: dict[str, Any]) -> None:
        """An outcome came."""
        data = frame["data"]
        if frame["event"] == "removed":
            self.gone.add(data["queue"])
            return
        result, stream_id = data.get("returnvalue", data.get("failedReason")), frame.get("id")
        if not self.shared:
            assert result not in self.here, f"an outcome came twice: {frame} {self.outcomes}"
            for other, other_id in self.outcomes:
                # One that is made from the hash has no id, so it may come again to a client that comes back.
                assert other != result or None in (other_id, stream_id), "an outcome came twice"
        self.here.add(result)
        self.outcomes.append((result, stream_id))
        # Ahead of its ack an event comes through another subscription.
        if stream_id is not None and self.acked and self.cursor is not None:
            self.cursor[data["queue"]] = stream_id


class Client:
    """A client that subscribes to jobs and comes back with the positions of each subscription.

    Attributes:
        queues: Which it names in subscriptions; None: it names none.
    """

    def __init__(self, fanout: Fanout, labels: tuple[str, ...], queues: tuple[str | None, ...]) -> None:
        self.fanout = fanout
        self.labels = labels
        self.queues = queues
        self.rooms: dict[tuple[str | None, str], Room] = {}
        self.connect()

    def connect(self) -> None:
        session = Session(self.labels, 262144, 10)
        self.connection = Connection(session, self.fanout, self.labels, 10, 1 << 20, lambda: None)
        self.joins: list[tuple[Join, LookUp | None]] = []
        self.replaying: list[tuple[Join, int]] = []
        self.asked: dict[int, Room] = {}

    def subscribe(self, room: Room) -> None:
        ref = len(self.asked) + 1
        self.asked[ref] = room
        data: dict[str, object] = {"jobId": room.job_id}
        if room.queue is not None:
            data["queue"] = room.queue
        if room.until_end:
            data["until"] = "end"
        if room.cursor is not None:
            data["after"] = room.cursor
        join = self.connection.receive(json.dumps({"event": "subscribe-job", "data": data, "ref": ref}), 0.0)
        assert join is not None
        (member,) = join.members
        assert isinstance(member, Membership)
        room.membership = member
        self.joins.append((join, None))
        alike = [
            other
            for other in self.rooms.values()
            if other.job_id == room.job_id and (None in (other.queue, room.queue) or other.queue == room.queue)
        ]
        for other in alike if len(alike) > 1 else ():
            other.shared = True

    def drain(self, most: int | None = None) -> None:
        """Take the frames, as a client does; no more than so many, as one that is cut off."""
        for frame in list(self.connection.outbox.take())[:most]:
            message: dict[str, Any] = json.loads(frame.payload)
            data = message["data"]
            if message["event"] == "ack" and "cursor" in data:
                room = self.asked[message["ref"]]
                room.acked = True
                if room.cursor is None or "gap" in data:
                    room.cursor = data["cursor"]
            elif message["event"] == "pong":
                for room in self.rooms.values():
                    if room.acked:
                        room.reach(data["cursor"])
            elif message["event"] in OUTCOMES:
                for room in self.rooms.values():
                    if room.concerns(data["queue"], data["jobId"]):
                        room.take(message)


class Model:
    """Redis, the reader, and two clients. `choose` draws a number below its argument."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.choose = choose
        self.number = 0
        # In one millisecond each queue has one entry at most; ids of several queues may be the same.
        self.moment = 1
        self.simultaneous: set[str] = set()
        self.queues = QUEUES[: 1 + choose(len(QUEUES))]
        self.streams: dict[str, list[tuple[bytes, list[bytes]]]] = {queue: [] for queue in self.queues}
        self.generated = dict.fromkeys(self.queues, START)
        self.lost: set[str] = set()
        self.again: dict[str, tuple[str, str]] = {}
        self.expected: dict[str, str] = {}
        self.holed: set[str] = set()
        self.hashes: dict[tuple[str, str], tuple[str, str]] = {}
        self.truth: dict[tuple[str, str], object] = defaultdict(lambda: None)
        # Every outcome that there was, with its stream id.
        self.ends: dict[tuple[str, str], list[tuple[str, object]]] = defaultdict(list)
        self.trimmed: set[str] = set()
        for _ in range(choose(6)):
            self.write()
        self.fanout = self.begin()
        named: tuple[tuple[str | None, ...], ...] = (self.queues, (None,), (None, *self.queues))
        self.clients = [Client(self.fanout, self.queues, named[choose(len(named))]) for _ in range(2)]

    def begin(self) -> Fanout:
        """A bridge begins: it knows what the streams hold, and nothing of what they no longer do."""
        fanout = Fanout(Rooms(lambda _queue: None), 1 << 20, lambda: 0.0)
        for queue in self.queues:
            stream = self.streams[queue]
            past = [(entry[0], entry[1][3], _kind(entry[1])) for entry in reversed(stream)]
            fanout.cursors[queue] = fanout.verified[queue] = self.generated[queue]
            floor = before(stream[0][0]) if stream else self.generated[queue]
            do_all(fanout.fill(queue, past, floor if queue in self.trimmed else START))
        return fanout

    def restart(self) -> None:
        """Another bridge takes over; the clients may just have heard from this one how far they are."""
        for client in self.clients:
            if self.choose(2):
                self.ping(client)
                self.drain(client)
        for unfinished in (self.lost, self.again, self.expected, self.holed):
            unfinished.clear()
        self.fanout = self.begin()
        for client in self.clients:
            client.fanout = self.fanout
            self.reconnect(client)

    # ---- Redis ----

    def queue(self) -> str:
        return self.queues[self.choose(len(self.queues))]

    def client(self) -> Client:
        return self.clients[self.choose(2)]

    def write(self) -> None:
        queue, job_id, event = self.queue(), JOBS[self.choose(len(JOBS))], EVENTS[self.choose(len(EVENTS))]
        self.number += 1
        if queue in self.simultaneous or self.choose(2):
            self.moment += 1
            self.simultaneous.clear()
        self.simultaneous.add(queue)
        stream_id = f"{self.moment * 10_000}-0"
        fields = [b"event", event.encode(), b"jobId", job_id.encode()]
        result = f"life {self.number} at {self.moment}"
        match event:
            case "completed":
                fields += [b"returnvalue", json.dumps(result).encode()]
            case "failed":
                fields += [b"failedReason", result.encode()]
            case _:
                fields += [b"data", b"1"]
        if event in FINISHED:
            if self.truth[queue, job_id] is not None:
                return  # it has ended; BullMQ would refuse
            self.hashes[queue, job_id] = (event, result)
            self.truth[queue, job_id] = result
            self.ends[queue, job_id].append((stream_id, result))
        elif event != "progress":
            self.hashes[queue, job_id] = (event, "")
            self.truth[queue, job_id] = None
        self.streams[queue].append((stream_id.encode(), fields))
        self.generated[queue] = stream_id

    def overrun(self) -> None:
        """More is written than the stream holds, before it is read."""
        for _ in range(1 + self.choose(3)):
            self.write()
        queue = self.queue()
        self.trim_to(queue, 1)
        self.publish(queue, 1000)

    def trim(self) -> None:
        self.trim_to(self.queue(), self.choose(4))

    def trim_to(self, queue: str, keep: int) -> None:
        stream = self.streams[queue]
        cursor = position(self.fanout.cursors[queue])
        gone = stream[: max(len(stream) - keep, 0)]
        if any(position(stream_id) > cursor for stream_id, _ in gone):
            self.lost.add(queue)
        if gone:
            self.trimmed.add(queue)
        self.streams[queue] = stream[len(gone) :]

    # ---- the reader ----

    def unread(self, queue: str) -> list[tuple[bytes, list[bytes]]]:
        cursor = position(self.fanout.cursors[queue])
        return [entry for entry in self.streams[queue] if position(entry[0]) > cursor]

    def read(self) -> None:
        queue = self.queue()
        self.publish(queue, 1 + self.choose(4))

    def publish(self, queue: str, count: int) -> None:
        self.fanout.publish(queue, self.unread(queue)[:count])
        if queue in self.again:
            end, floor = self.again[queue]
            if not self.unread(queue) or position(self.fanout.cursors[queue]) >= position(end):
                del self.again[queue]
                self.fanout.cursors[queue] = max(end, self.fanout.cursors[queue], key=position)
                do_all(self.fanout.end_again(queue, "trimmed", floor))
                self.fanout.verified[queue] = self.fanout.cursors[queue]
                self.holed.add(queue)
        elif queue in self.expected and position(self.fanout.cursors[queue]) >= position(self.expected[queue]):
            end = self.expected.pop(queue)
            if queue not in self.lost:
                self.fanout.verified[queue] = end
        if queue in self.holed:
            self.sweep(queue)

    def check_one(self) -> None:
        self.check(self.queue())

    def sweep_one(self) -> None:
        self.sweep(self.queue())

    def check(self, queue: str) -> None:
        """The reader compares counts: if entries were lost it reads again, says so, and sweeps."""
        stream = self.streams[queue]
        if queue in self.again:
            return
        if queue in self.lost:
            self.lost.discard(queue)
            self.expected.pop(queue, None)
            start = self.fanout.verified[queue] = self.fanout.begin_again(queue, self.generated[queue])
            floor = before(stream[0][0]) if stream else self.generated[queue]
            self.again[queue] = (self.generated[queue], max(start, floor, key=position))
            self.publish(queue, self.choose(4))
        else:
            self.fanout.forget_before(queue, stream[0][0].decode() if stream else self.generated[queue])
            if self.unread(queue):
                self.expected[queue] = self.generated[queue]
            else:
                self.fanout.verified[queue] = self.fanout.cursors[queue]

    # ---- what a bridge does ----

    def snapshot(self, queue: str, job_id: str) -> JobSnapshot | None:
        found = self.hashes.get((queue, job_id))
        if found is None:
            return None
        state, result = found
        return JobSnapshot(
            queue=queue,
            job_id=job_id,
            name="x",
            state=state,
            at=None,
            finished_on=float(result.split()[-1]) * 10_000 - 5 if result else UNSET,
            returnvalue=Raw(json.dumps(result).encode()) if state == "completed" else UNSET,
            failed_reason=result if state == "failed" else UNSET,
        )

    def look_up(self, jobs: Any) -> LookUp:
        """Job by job: much may happen between two of them."""
        look_up = LookUp({}, {}, {})
        for job in jobs:
            look_up.found[job] = self.snapshot(*job)
            look_up.moments[job] = look_up.ends[job[0]] = self.generated[job[0]]
            while not self.choose(4):
                self.write()
                self.read()
        look_up.ends.update(self.generated)
        return look_up

    def behind(self, look_up: LookUp, labels: Any) -> bool:
        return any(position(self.fanout.cursors[queue]) < position(look_up.ends[queue]) for queue in labels)

    def sweep(self, queue: str) -> None:
        jobs = [job_id.decode() for job_id in self.fanout.rooms.watched(queue)]
        look_up = self.look_up([(queue, job_id) for job_id in jobs])
        all_read = not self.behind(look_up, [queue])
        self.holed = self.holed - {queue} if all_read else self.holed
        for job_id in jobs:
            found = look_up.found[queue, job_id]
            assert not isinstance(found, ItemError)
            for membership in self.fanout.rooms.of_job(queue, job_id):
                end = look_up.moments[queue, job_id]
                if lacks(membership, queue, found, end, all_read=all_read):
                    settle(self.fanout, Unsettled(membership, queue, end), found)

    # ---- the clients ----

    def subscribe(self) -> None:
        client, job_id = self.client(), JOBS[self.choose(len(JOBS))]
        queue = client.queues[self.choose(len(client.queues))]
        if (queue, job_id) not in client.rooms:
            client.rooms[queue, job_id] = Room(queue, job_id, until_end=not self.choose(3))
            client.subscribe(client.rooms[queue, job_id])

    def subscribe_again(self) -> None:
        """To a room in which the client is already."""
        client = self.client()
        if client.rooms:
            room = client.rooms[sorted(client.rooms, key=str)[self.choose(len(client.rooms))]]
            if room.membership is not None and not room.membership.left:
                room.shared = True
                client.subscribe(room)

    def look(self) -> None:
        client = self.client()
        waiting = [index for index, (_, look_up) in enumerate(client.joins) if look_up is None]
        if waiting:
            index = waiting[self.choose(len(waiting))]
            join = client.joins[index][0]
            client.joins[index] = (join, self.look_up(jobs_of(join)))

    def answer_one(self) -> None:
        self.answer(self.client())

    def answer(self, client: Client) -> None:
        for index, (join, look_up) in enumerate(client.joins):
            # A bridge waits until it has read all that the look-up knows of, but not for ever.
            waits = look_up is not None and self.behind(look_up, join.queues) and self.choose(4)
            if look_up is not None and join.prepare(self.fanout) and not waits:
                del client.joins[index]
                client.connection.complete(join, look_up, 1.0)
                client.replaying.append((join, 0))
                return

    def read_back_one(self) -> None:
        self.read_back(self.client())

    def read_back(self, client: Client) -> None:
        if not client.replaying:
            return
        join, index = client.replaying.pop(0)
        events = list(join.events())
        if index < len(events):
            each, number = events[index]
            found = [entry for entry in self.streams[each.queue] if entry[0] == each.stream_ids[number]]
            replay(self.fanout, join, each, number, found[0] if found else None)
            client.replaying.append((join, index + 1))
            return
        for unsettled in join.unsettled:
            queue, job_id = unsettled.queue, str(unsettled.membership.subscription.room.job_id)
            look_up = self.look_up([(queue, job_id)])
            if self.behind(look_up, [queue]) and self.choose(4):
                client.replaying.append((join, index))
                return
            snapshot = look_up.found[queue, job_id]
            assert not isinstance(snapshot, ItemError)
            settle(self.fanout, unsettled._replace(end=look_up.moments[queue, job_id]), snapshot)
        client.connection.caught_up(join)

    def drain_one(self) -> None:
        self.drain(self.client())

    def drain(self, client: Client) -> None:
        """A client takes its frames. Of a subscription that has ended by itself every outcome must be among them."""
        client.drain()
        for key, room in list(client.rooms.items()):
            if room.membership is not None and room.membership.left:
                assert room.until_end
                had = {result for result, _ in room.outcomes}
                for queue, settled in room.membership.lives.items():
                    ends = self.ends[queue, room.job_id]
                    if settled is not None:  # else another life has begun
                        ends = [each for each in ends if position(each[0]) <= position(settled)][-1:]
                    told = queue in room.gone or had & {result for _, result in ends}
                    assert told, f"a subscription ended too early: {queue} {ends} {room.outcomes}"
                del client.rooms[key]

    def ping_one(self) -> None:
        self.ping(self.client())

    def ping(self, client: Client) -> None:
        client.connection.receive('{"event": "ping"}', 0.0)

    def come_back(self) -> None:
        self.reconnect(self.client())

    def cut_off(self) -> None:
        """The connection breaks after a part of what was sent has come."""
        client = self.client()
        client.drain(self.choose(4))
        self.reconnect(client)

    def reconnect(self, client: Client) -> None:
        """The connection breaks; whatever was under way is lost."""
        client.connection.leave_all()
        client.connect()
        for room in client.rooms.values():
            room.here.clear()
            room.acked = False
            client.subscribe(room)

    def unsubscribe(self) -> None:
        client = self.client()
        if client.rooms:
            key = sorted(client.rooms, key=str)[self.choose(len(client.rooms))]
            self.drain(client)
            if key in client.rooms:
                request = {"event": "unsubscribe-job", "data": {"queue": key[0], "jobId": key[1]}}
                client.connection.receive(json.dumps(request), 0.0)
                del client.rooms[key]
                self.drain(client)

    def read_all(self) -> None:
        """Read until nothing is unread; while a sweep looks up its jobs, more is written."""
        while any(map(self.unread, self.queues)) or self.lost or self.again or self.holed:
            for queue in self.queues:
                self.check(queue)
                self.publish(queue, 1000)
        # What was trimmed is not read.
        self.fanout.cursors.update(self.generated)

    def rest(self) -> None:
        """Let everything come to rest: then nothing may be missing."""
        self.read_all()
        for client in self.clients:
            client.joins = [(join, self.look_up(jobs_of(join))) for join, _ in client.joins]
            while client.joins or client.replaying:
                self.answer(client)
                self.read_back(client)
        self.read_all()
        for client in self.clients:
            self.drain(client)
            for (named, job_id), room in client.rooms.items():
                for queue in self.queues if named is None else (named,):
                    last = self.truth[queue, job_id]
                    if last is not None:
                        assert last in [result for result, _ in room.outcomes], (queue, job_id, last, room.outcomes)
            assert all(each.held is None and not each.over for each in client.connection._memberships.values())


def _kind(fields: list[bytes]) -> Kind:
    kind = kind_of(fields)
    assert kind is not None
    return kind


ACTIONS = (
    *(Model.write,) * 6,
    *(Model.read,) * 3,
    *(Model.subscribe,) * 3,
    *(Model.look, Model.answer_one, Model.read_back_one) * 2,
    *(Model.trim, Model.check_one, Model.sweep_one, Model.drain_one, Model.come_back, Model.unsubscribe),
    *(Model.subscribe_again, Model.overrun, Model.ping_one, Model.restart, Model.cut_off),
)


# A few where nobody wants to wait.
SEEDS = (
    range(300),
    *(pytest.param(range(start, start + 1100), marks=pytest.mark.long) for start in range(300, 8000, 1100)),
)


@pytest.mark.parametrize("seeds", SEEDS, ids=str)
def test_no_interleaving_loses_an_outcome(seeds: range) -> None:
    for seed in seeds:
        random = Random(seed)
        model = Model(random.randrange)
        try:
            for _ in range(80):
                ACTIONS[random.randrange(len(ACTIONS))](model)
            model.rest()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
