"""A look-up that is made in parts: queues whose streams are begun again are asked for again, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.fanout import Fanout
from jobws.hub.query import Query
from jobws.hub.rooms import Rooms
from jobws.protocol.messages import Identity, JobSnapshot
from tests.support.steps import begin_again, do_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.events import Entry

LABELS = ("http", "sparql")


def asked(fanout: Fanout, room: Identity, labels: dict[str, None] | None = None) -> Query:
    """A query of the job 1, which both queues have."""
    for queue in LABELS:
        if not fanout.recent.filled(queue):
            do_all(fanout.fill(queue, [], "0-0"))
        fanout.cursors[queue] = fanout.verified[queue] = "9-0"
    query = Query([room], dict.fromkeys(LABELS) if labels is None else labels, fanout)
    query.ask()
    snapshots = {(queue, "1"): JobSnapshot(queue, "1", "x", "active", "9-0") for queue in query.asked}
    query.take(LookUp(dict(snapshots), dict.fromkeys(snapshots, "9-0"), dict.fromkeys(query.asked, "9-0")))
    return query


@pytest.fixture
def fanout() -> Fanout:
    return Fanout(Rooms(lambda _queue: None), 1 << 20, lambda: 0.0)


def test_only_a_queue_that_was_begun_again_is_asked_for_again(fanout: Fanout) -> None:
    room = Identity(None, "1")
    query = asked(fanout, room)
    assert query.holds([room])
    assert dict(query.job_ids) == {"http": {"1": None}, "sparql": {"1": None}}
    begin_again(fanout, "http", "trimmed", "9-0", "8-0")
    assert not query.holds([room])
    assert query.holds([Identity("sparql", "1")])
    query.ask()
    assert (query.due, query.asked, dict(query.job_ids)) == (["http"], [], {}), "it is still being read"
    assert not query.holds([room])
    fanout.end_again("http", "8-0")
    query.ask()
    assert dict(query.job_ids) == {"http": {"1": None}}
    query.take(LookUp({}, {}, {"http": "9-0"}))
    assert query.holds([room])
    assert list(query.having(room)) == ["sparql"], "the job is gone from the other one"


def test_what_was_said_of_a_job_is_forgotten_when_it_is_asked_for_again(fanout: Fanout) -> None:
    room = Identity("http", "1")
    query = asked(fanout, room)
    assert query.moment("http", "1") == "9-0"
    begin_again(fanout, "http", "recreated", "3-0", "0-0")
    fanout.end_again("http", "0-0")
    query.ask()
    query.take(LookUp({}, {}, {"http": "3-0"}))
    assert query.having(room) == {}
    assert query.moment("http", "1") == fanout.cursors["http"]
    assert query.end("http") == "3-0"


def entry(stream_id: str, event: str = "progress") -> Entry:
    return stream_id.encode(), [b"event", event.encode(), b"jobId", b"2"]


def trim(fanout: Fanout) -> None:
    fanout.publish("http", [entry("10-0"), entry("11-0")])
    assert fanout.recent.floor("http") == "0-0"
    fanout.forget_before("http", "11-0")


def overflow(fanout: Fanout) -> None:
    fanout.recent.of("http").resize(2)
    fanout.publish("http", [entry("10-0"), entry("11-0"), entry("12-0")])


@pytest.mark.parametrize("forget", [trim, overflow])
@pytest.mark.parametrize("room", [Identity(None, "1"), Identity("http", "1")])
def test_a_queue_is_due_again_once_an_event_that_came_since_is_forgotten(
    fanout: Fanout, room: Identity, forget: Callable[[Fanout], None]
) -> None:
    query = asked(fanout, room)
    assert query.holds([room])
    fanout.publish("sparql", [entry("10-0")])
    assert query.holds([room])
    forget(fanout)
    assert not query.holds([room])
    assert query.due == ["http"]
    assert query.holds([Identity("sparql", "1")])
    query.ask()
    query.take(LookUp({}, {}, {"http": "12-0"}))
    assert query.holds([room])


def test_what_is_forgotten_from_before_the_look_up_does_not_matter(fanout: Fanout) -> None:
    room = Identity(None, "1")
    do_all(fanout.fill("http", [], "0-0"))
    fanout.publish("http", [entry("7-0"), entry("8-0")])
    query = asked(fanout, room)
    fanout.forget_before("http", "9-0")
    assert query.holds([room])


def test_a_queue_that_is_forgotten_is_not_due(fanout: Fanout) -> None:
    room = Identity(None, "1")
    labels = dict.fromkeys(LABELS)
    query = asked(fanout, room, labels)
    begin_again(fanout, "http", "recreated", "3-0", "0-0")
    assert query.due == ["http"]
    del labels["http"]
    fanout.forget("http")
    assert query.due == []


def test_more_than_is_remembered_may_be_read_again(fanout: Fanout) -> None:
    do_all(fanout.fill("http", [], "0-0"))
    fanout.cursors["http"] = "9-0"
    begin_again(fanout, "http", "trimmed", "9-0", "0-0")
    fanout.recent.of("http").resize(2)
    fanout.publish("http", [entry("1-0"), entry("2-0"), entry("3-0")])
    assert not fanout.recent.filled("http"), "it is still being read"
    fanout.end_again("http", "0-0")
    assert fanout.recent.floor("http") == "1-0"
    assert fanout.may_lack("http", "0-1")
