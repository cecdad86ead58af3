"""Rooms give the same answers as a walk over all subscriptions, and signal each change of which queues are listened
to.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.rooms import Rooms
from jobws.hub.jobs.subscription import ALIVE, JobEnded, Subscription
from jobws.protocol.request_types import SubscriptionKey, SubscriptionRequest
from jobws.protocol.session import Session
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING, sight
from tests.support.steps import begin_again, do_all

if TYPE_CHECKING:
    from jobws.redis.commands import Entry

QUEUES = ("http", "sparql", "analyzer")
JOBS = ("1", "2", "3")
# The last one may read each job in at least one queue.
SIGHTS = (EVERYTHING, EVERYTHING, sight("read:jobs:http", "read:jobs:sparql/1", "read:jobs:*/3"))


class Model:
    """Rooms, and a plain list of the same subscriptions."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.rooms = Rooms(self.on_listened)
        self.members: list[Subscription] = []
        self.connections: list[Any] = [object() for _ in range(3)]
        # What a listener knows that only gets the signals.
        self.listened = dict.fromkeys(QUEUES, False)
        self.seeking = False

    def on_listened(self, queue: str | None) -> None:
        if queue is None:
            self.seeking = not self.seeking
        else:
            self.listened[queue] = not self.listened[queue]

    def join(self) -> None:
        queue = self.random.choice((None, *QUEUES))
        job_id = self.random.choice(JOBS if queue is None else (None, *JOBS))
        connection = self.random.choice(self.connections)
        request = SubscriptionRequest(SubscriptionKey(queue, job_id))
        subscription = Subscription(connection, request, self.rooms, self.random.choice(SIGHTS))
        subscription.in_room = True
        self.rooms.join(subscription)
        self.members.append(subscription)

    def leave(self) -> None:
        if self.members:
            subscription = self.members.pop(self.random.randrange(len(self.members)))
            subscription.ended = True
            self.rooms.leave(subscription)
            subscription.note_job_in(self.random.choice(QUEUES))  # too late, so it must leave no trace

    def note_job_in(self) -> None:
        if self.members:
            subscription = self.random.choice(self.members)
            room = subscription.request.key
            if room.job_id is not None:
                queue = room.queue or self.random.choice([each for each in QUEUES if subscription.gets_events_of(each)])
                subscription.note_job_in(queue)
                subscription.job_states[queue] = self.random.choice((ALIVE, JobEnded(b"1-0")))

    def forget(self) -> None:
        queue = self.random.choice(QUEUES)
        self.rooms.forget(queue)
        for subscription in self.members:
            if subscription.request.key.queue is None:
                assert queue not in subscription.job_states

    def check(self) -> None:
        anywhere = [each for each in self.members if each.request.key.queue is None]
        assert self.rooms.seeking == self.seeking == any(not each.job_states for each in anywhere)
        assert len(self.rooms) == len({each.request.key for each in self.members})
        for queue in QUEUES:
            named = [each for each in self.members if each.request.key.queue == queue]
            jobs = [each for each in named if each.request.key.job_id is not None]
            found = [each for each in anywhere if queue in each.job_states]
            assert self.rooms.is_listened_to(queue) == self.listened[queue] == bool(named or found)
            assert (queue in self.rooms.named_queues) == self.listened[queue]
            watched = [job_id.decode() for job_id in self.rooms.watched(queue) if job_id is not None]
            assert len(watched) == len(set(watched))
            covering = [each for each in anywhere if each.gets_events_of(queue)]
            assert set(watched) == {each.request.key.job_id for each in jobs + covering}
            awaiting_outcome = [job_id.decode() for job_id in self.rooms.awaiting_outcome(queue) if job_id is not None]
            assert len(awaiting_outcome) == len(set(awaiting_outcome))
            assert set(awaiting_outcome) == {
                each.request.key.job_id for each in jobs + found if not isinstance(each.job_states.get(queue), JobEnded)
            }
            concerned = {each.client for each in named + covering}
            assert self.rooms.clients_of(queue) == concerned
            for job_id in JOBS:
                wanted = [each for each in jobs + covering if each.request.key.job_id == job_id]
                assert set(self.rooms.of_job(queue, job_id)) == set(wanted)


@pytest.mark.parametrize("hundred", [0, *(pytest.param(number, marks=pytest.mark.long) for number in (1, 2, 3))])
def test_rooms_agree_with_a_walk_over_all(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        random = Random(seed)
        model = Model(random)
        for _ in range(60):
            random.choice((model.join, model.join, model.leave, model.note_job_in, model.note_job_in, model.forget))()
            model.check()
        while model.members:
            model.leave()
        model.check()
        assert not any(
            vars(model.rooms)[name] for name in ("_named", "_queues", "_found", "_seeking", "_counts", "_limited")
        )


def test_rooms_may_come_and_go_while_they_are_walked() -> None:
    rooms = Rooms(lambda _queue: None)
    connection: Any = object()
    members = [
        Subscription(connection, SubscriptionRequest(SubscriptionKey("http", job_id)), rooms, EVERYTHING)
        for job_id in JOBS
    ]
    for subscription in members:
        rooms.join(subscription)
    walks = [rooms.watched("http"), rooms.awaiting_outcome("http")]
    assert [next(walk) for walk in walks] == [b"1", b"1"]
    for subscription in members:
        subscription.ended = True
        rooms.leave(subscription)
    assert list(walks[0]) == [b"2", b"3"]
    assert list(walks[1]) == [None, None]


def test_a_queue_that_is_forgotten_leaves_nothing() -> None:
    fanout = new_fanout()
    session = Session(dict.fromkeys(QUEUES), 1 << 18, 10, EVERYTHING)
    connection = JobClient(session, fanout, QUEUES, 10, 1 << 20, lambda: None, lambda _: None)
    subscription = Subscription(
        connection, SubscriptionRequest(SubscriptionKey(None, "1"), frozenset()), fanout.rooms, EVERYTHING
    )
    subscription.in_room = True
    fanout.rooms.join(subscription)
    entry: Entry = (b"5-0", [b"event", b"active", b"jobId", b"1"])
    for queue in ("http", "sparql"):
        do_all(fanout.fill(queue, [], "0-0"))
        fanout.publish(queue, [entry])
        fanout.verified[queue] = "5-0"
        fanout.without_events.add(queue)
        begin_again(fanout, queue, "trimmed", "1-0", "0-0")
    assert subscription.job_states == {"http": ALIVE, "sparql": ALIVE}
    fanout.forget("http")
    assert subscription.job_states == {"sparql": ALIVE}
    assert not fanout.rooms.is_listened_to("http")
    assert not fanout.history.filled("http")
    assert fanout.cursors.keys() == fanout.verified.keys() == fanout.rereads.keys() == {"sparql"}
    assert fanout.without_events == fanout.without_position == {"sparql"}
    fanout.forget("sparql")
    assert fanout.rooms.seeking
    # The same queue again, as a new one.
    do_all(fanout.fill("http", [], "0-0"))
    fanout.publish("http", [entry])
    assert subscription.job_states == {"http": ALIVE}
    assert fanout.rooms.is_listened_to("http")
