"""Stale look-ups: queues in which the job may have ended since the look-up, without an event that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.query import Query
from jobws.hub.jobs.subscription import Subscription
from jobws.protocol.messages import JobSnapshot
from jobws.protocol.request_types import SubscriptionKey, SubscriptionRequest
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import begin_again, do_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.subscription import Subscriber
    from jobws.redis.commands import Entry

ANYWHERE = SubscriptionKey(None, "1")
HTTP = SubscriptionKey("http", "1")


@pytest.fixture
def labels() -> dict[str, None]:
    return dict.fromkeys(("http", "sparql"))


@pytest.fixture
def fanout(labels: dict[str, None]) -> Fanout:
    fanout = new_fanout()
    for queue in labels:
        do_all(fanout.fill(queue, [], "0-0"))
        fanout.publish(queue, [entry("7-0"), entry("9-0")])
    return fanout


def asked(fanout: Fanout, room: SubscriptionKey, labels: dict[str, None]) -> Query:
    """Return a query for the job 1, which every queue has."""
    query = Query([member(fanout, room)], labels, fanout)
    query.note_streams()
    snapshots = {(queue, "1"): JobSnapshot(queue, "1", "x", "active", "9-0") for queue in query.queues}
    query.keep_answer(LookUp(dict(snapshots), dict.fromkeys(snapshots, "9-0"), dict.fromkeys(query.queues, "9-0")))
    return query


def entry(stream_id: str) -> Entry:
    return stream_id.encode(), [b"event", b"progress", b"jobId", b"2"]


def trim(fanout: Fanout) -> None:
    fanout.publish("http", [entry("10-0"), entry("11-0")])
    fanout.forget_before("http", "11-0")


def overflow(fanout: Fanout) -> None:
    fanout.history.of("http").resize(2)
    fanout.publish("http", [entry("10-0"), entry("11-0"), entry("12-0")])


def read_again(fanout: Fanout) -> None:
    begin_again(fanout, "http", "trimmed", "9-0", "0-0")
    fanout.publish("http", [entry("7-0"), entry("9-0")])
    fanout.end_reread("http", "0-0")


def come_back(fanout: Fanout) -> None:
    fanout.forget("http")
    do_all(fanout.fill("http", [], "0-0"))


@pytest.mark.parametrize("happens", [trim, overflow, read_again, come_back])
def test_what_was_forgotten_since_makes_a_queue_stale(
    fanout: Fanout, labels: dict[str, None], happens: Callable[[Fanout], None]
) -> None:
    named, anywhere = asked(fanout, HTTP, labels), asked(fanout, ANYWHERE, labels)
    fanout.publish("sparql", [entry("10-0")])
    assert (named.stale(member(fanout, HTTP)), anywhere.stale(member(fanout, ANYWHERE))) == ((), [])
    happens(fanout)
    assert (named.stale(member(fanout, HTTP)), anywhere.stale(member(fanout, ANYWHERE))) == (("http",), ["http"])
    assert anywhere.stale(member(fanout, SubscriptionKey("sparql", "1"))) == ()
    assert asked(fanout, ANYWHERE, labels).stale(member(fanout, ANYWHERE)) == []


def test_what_was_forgotten_of_the_time_before_does_not_matter(fanout: Fanout, labels: dict[str, None]) -> None:
    query = asked(fanout, ANYWHERE, labels)
    fanout.forget_before("http", "9-1")
    assert fanout.history.floor("http") == "9-0"
    assert query.stale(member(fanout, ANYWHERE)) == []


def test_each_event_that_is_forgotten_is_noticed_whatever_else_changed(fanout: Fanout, labels: dict[str, None]) -> None:
    query = asked(fanout, ANYWHERE, labels)
    assert query.stale(member(fanout, ANYWHERE)) == []
    fanout.forget_before("sparql", "1-0")
    overflow(fanout)
    assert query.stale(member(fanout, ANYWHERE)) == ["http"]


def test_a_whole_queue_is_owed_nothing(fanout: Fanout, labels: dict[str, None]) -> None:
    query = asked(fanout, SubscriptionKey("http", None), labels)
    trim(fanout)
    assert query.stale(member(fanout, SubscriptionKey("http", None))) == ()


def test_a_queue_that_is_found_since_is_stale_unless_all_that_it_had_is_known(
    fanout: Fanout, labels: dict[str, None]
) -> None:
    query = asked(fanout, ANYWHERE, labels)
    for queue, floor in (("whole", "0-0"), ("trimmed", "5-0")):
        labels[queue] = None
        do_all(fanout.fill(queue, [], floor))
    assert query.stale(member(fanout, ANYWHERE)) == ["trimmed"]


def test_nothing_is_kept_of_a_queue_that_is_forgotten(fanout: Fanout, labels: dict[str, None]) -> None:
    named, anywhere = asked(fanout, HTTP, labels), asked(fanout, ANYWHERE, labels)
    del labels["http"]
    fanout.forget("http")
    assert (named.stale(member(fanout, HTTP)), anywhere.stale(member(fanout, ANYWHERE))) == ((), [])
    assert "http" not in fanout.history._queues


def member(fanout: Fanout, room: SubscriptionKey, after: dict[str, str] | None = None) -> Subscription:
    return Subscription(cast("Subscriber", None), SubscriptionRequest(room, after=after), fanout.rooms, EVERYTHING)


def test_nothing_is_said_of_a_queue_while_its_stream_is_read_again(fanout: Fanout, labels: dict[str, None]) -> None:
    query = asked(fanout, ANYWHERE, labels)
    named, seen = member(fanout, HTTP), member(fanout, ANYWHERE)
    begin_again(fanout, "http", "trimmed", "9-0", "8-0")
    assert query.being_reread([named]) == query.being_reread([seen]) == ["http"]
    assert query.being_reread([member(fanout, SubscriptionKey("sparql", "1"))]) == []
    fanout.end_reread("http", "8-0")
    assert query.being_reread([named, seen]) == []


def test_a_job_without_a_queue_waits_for_those_alone_in_which_it_was_seen(
    fanout: Fanout, labels: dict[str, None]
) -> None:
    query = Query([member(fanout, SubscriptionKey(None, job_id)) for job_id in "23"], labels, fanout)
    query.note_streams()
    query.keep_answer(LookUp({}, {}, {}))
    begin_again(fanout, "http", "trimmed", "9-0", "8-0")
    assert query.being_reread([member(fanout, SubscriptionKey(None, "3"))]) == []
    assert query.being_reread([member(fanout, SubscriptionKey(None, "3"), {"sparql": "1-0"})]) == []
    assert query.being_reread([member(fanout, SubscriptionKey(None, "3"), {"http": "1-0"})]) == ["http"], "it was there"
    assert query.being_reread([member(fanout, SubscriptionKey(None, "2"))]) == ["http"], "an event was published"
    assert query.stale(member(fanout, SubscriptionKey(None, "3"))) == ["http"], "it is looked up once more"


def test_a_queue_that_comes_has_those_asked_for_again_that_name_it(fanout: Fanout, labels: dict[str, None]) -> None:
    room = SubscriptionKey("later", "1")
    members = [member(fanout, room), member(fanout, HTTP)]
    query = Query(members, labels, fanout)
    assert (query.unknown, [*map(query.must_wait_for, members)]) == (["later"], [False, False])
    labels["later"] = None
    assert [*map(query.must_wait_for, members)] == [True, False]


def test_the_position_of_an_old_look_up_in_a_stream_that_was_made_again_is_its_beginning(
    fanout: Fanout, labels: dict[str, None]
) -> None:
    query = asked(fanout, HTTP, labels)
    assert (query.moment("http", "1"), query.end("http")) == ("9-0", "9-0")
    begin_again(fanout, "http", "recreated", "3-0", "0-0")
    fanout.publish("http", [entry("3-0")])
    fanout.end_reread("http", "0-0")
    assert (query.moment("http", "1"), query.end("http")) == ("0-0", "0-0")


def test_more_than_is_remembered_may_be_read_again(fanout: Fanout) -> None:
    begin_again(fanout, "http", "trimmed", "9-0", "0-0")
    fanout.history.of("http").resize(2)
    fanout.publish("http", [entry("1-0"), entry("2-0"), entry("3-0")])
    assert not fanout.history.filled("http"), "it is still being read"
    fanout.end_reread("http", "0-0")
    assert fanout.history.floor("http") == "1-0"
    assert fanout.history.of("http").may_miss("0-1")
