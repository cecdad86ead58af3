"""A look-up that is made in parts: queues whose streams are begun again are asked for again, and no others."""

from __future__ import annotations

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.fanout import Fanout
from jobws.hub.query import Query
from jobws.hub.rooms import Rooms
from jobws.protocol.messages import Identity, JobSnapshot
from tests.support.steps import begin_again, do_all

LABELS = ("http", "sparql")


def asked(fanout: Fanout, room: Identity) -> Query:
    """A query of the job 1, which both queues have."""
    for queue in LABELS:
        do_all(fanout.fill(queue, [], "0-0"))
        fanout.cursors[queue] = fanout.verified[queue] = "9-0"
    query = Query([room], dict.fromkeys(LABELS), fanout)
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
