"""The subscriptions of one payer are counted over all of its connections."""

from __future__ import annotations

import json
from collections import Counter

from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.jobs.subscription_counts import SubscriptionCounts
from jobws.protocol.messages import ItemError
from jobws.protocol.session import Session
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING

QUEUES = ("http",)
FULL = "there may be 3 subscriptions by one holder or address (max_subscriptions_per_identity)"


class World:
    """Clients of one bridge, whose payers may have three subscriptions each, and connections two."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.counts = SubscriptionCounts(3, self.refused)

    def client(self, payer: str | None) -> JobClient:
        session = Session(QUEUES, 262144, 10, EVERYTHING)
        fanout = new_fanout()
        client = JobClient(session, fanout, QUEUES, 2, 1 << 20, lambda: None, lambda _: None, self.counts)
        client.charge_to(payer)
        return client


def subscribe(client: JobClient, *job_ids: str) -> list[str | None]:
    """Return for each job the message of the error with which the subscription is refused, or None."""
    pending = client.receive(json.dumps({"event": "subscribe-job", "data": list(job_ids)}), 0.0)
    assert pending is not None
    return [each.message if isinstance(each, ItemError) else None for each in pending.subscriptions]


def test_the_limit_is_for_all_connections_of_a_payer() -> None:
    world = World()
    one, two, other, unlimited = map(world.client, ("ann", "ann", "bob", None))
    assert subscribe(one, "1", "2", "3") == [None, None, "a connection may have 2 subscriptions"]
    assert subscribe(two, "1", "2") == [None, FULL]
    assert subscribe(other, "1", "2") == subscribe(unlimited, "1", "2") == [None, None]
    assert world.refused == {"max_subscriptions": 1, "max_subscriptions_per_identity": 1}
    one.end_all()
    assert subscribe(two, "2") == [None]


def test_a_subscription_that_fails_no_longer_counts() -> None:
    world = World()
    one, two = world.client("ann"), world.client("ann")
    pending = one.receive(json.dumps({"event": "subscribe-job", "data": ["1", "2"]}), 0.0)
    assert pending is not None
    assert subscribe(two, "1", "2") == [None, FULL]
    one.fail(pending, UNAVAILABLE)
    assert subscribe(two, "2") == [None]


def test_a_client_takes_its_subscriptions_to_another_payer() -> None:
    world = World()
    one, two, three = map(world.client, ("ann", "bob", "bob"))
    assert subscribe(one, "1", "2") == subscribe(two, "1", "2") == [None, None]
    one.charge_to("bob")
    assert subscribe(three, "1") == [FULL]
    assert len(one.keys) == 2
    one.charge_to("ann")
    assert subscribe(three, "1") == [None]
