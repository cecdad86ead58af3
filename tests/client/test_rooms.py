"""The client's pure part against a bridge in memory: whatever happens when, each outcome is handed out, and once."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobws.client import rooms as rooms_module
from jobws.client.event import decode_frame
from jobws.errors import JobUnknown, RefusedError, ResponseError, UnreachableError
from jobws.protocol.messages import OUTCOMES, HelloData, Room
from tests.client.model import QUEUES
from tests.client.pair import Pair, User

JOBS = ("1", "2", "3")
ROOMS = [Room(queue, job) for job in JOBS for queue in (*QUEUES, None)]
EVENTS = ("added", "active", "progress", "progress", "completed", "failed", "waiting", "removed")
STEPS = st.lists(st.integers(0, 2**16), min_size=20, max_size=150)


def step(pair: Pair, users: list[User], number: int) -> None:
    """One of the things that can happen, chosen by a number."""
    kind, more = number % 16, number // 16
    model = pair.model
    queue, job = QUEUES[more % 2], JOBS[more // 2 % len(JOBS)]
    match kind:
        case 0 | 1:
            model.emit(queue, job, EVENTS[more // 8 % len(EVENTS)])
        case 2 if more % 5 == 4:
            model.begin_again(queue)
        case 2:
            model.vanish(queue, job)
        case 3:
            if len(users) < 12:
                count = 1 + more // 32 % 3
                first = more % len(ROOMS)
                events = (OUTCOMES, None, frozenset({"progress"}))[more // 9 % 3]
                users.append(User((ROOMS + ROOMS)[first : first + count], events))
                pair.rooms.join(users[-1].watcher)
        case 4:
            if users:
                pair.rooms.leave(users.pop(more % len(users)).watcher)
        case 5:
            pair.cut()
        case 6 | 7:
            pair.connect()
        case 8:
            pair.now += more % 7
        case 9 | 10:
            pair.flush()
        case 11 | 12 if model.to_bridge:
            model.process()
        case 13 if model.busy:
            if model._joins or model._paced:
                model.complete()
        case _ if model.to_client:
            pair.deliver()
        case _:
            pass


# A room of one queue, whose ack names another one that begins anew before the room is settled.
@example([6, 3619, 9, 11, 1360, 13, 1666])
@settings(max_examples=600)
@given(STEPS)
def test_every_watcher_gets_one_outcome_of_each_room(steps: list[int]) -> None:
    pair = Pair(streams=4)
    users: list[User] = []
    for number in steps:
        step(pair, users, number)
    pair.settle(30)
    for queue in QUEUES:
        for job in JOBS:
            pair.model.emit(queue, job, "added")
            pair.model.emit(queue, job, "completed")
    pair.settle(60)
    for user in users:
        for room, ends in user.ends.items():
            assert len(ends) == 1, (room, user.events[room])
            ids = [(event.data["queue"], event.id) for event in user.events[room] if event.id is not None]
            assert len(set(ids)) == len(ids)
            told = [event.data for event in user.events[room] if event.event != "gap"]
            assert all(Room(room.queue and data["queue"], data["jobId"]) == room for data in told)
    # Nobody watches any more, and the bridge knows it.
    assert not pair.rooms._rooms
    assert not pair.rooms._asking._held
    assert not pair.model._members


@settings(max_examples=400)
@given(STEPS)
def test_a_settled_watcher_misses_no_event(steps: list[int]) -> None:
    """Six rooms on three places, two of one job, through cuts: every event from the answer on, in order, once."""
    pair = Pair()
    jobs = "12345"
    rooms = [Room("a", job) for job in jobs] + [Room(None, "1")]
    for job in jobs:
        pair.model.emit("a", job, "added")
    user = User(rooms, None)
    pair.rooms.join(user.watcher)
    pair.settle(30)
    assert len(user.answers) == 6
    begin = pair.model.end
    for number in steps:
        if number % 16 in (0, 1, 2):
            pair.model.emit("a", jobs[number // 16 % 5], "progress")
        elif number % 16 not in (3, 4):
            step(pair, [], number)
    for job in jobs:
        pair.model.emit("a", job, "completed")
    pair.settle(60)
    for room in rooms:
        told = [event.id for event in user.events[room]]
        assert told == [entry.id for entry in pair.model.stream[begin:] if entry.job == room.job_id]


@pytest.mark.parametrize("events", [OUTCOMES, None])
def test_a_connection_may_be_lost_at_any_moment(events: frozenset[str] | None) -> None:
    """Jobs that had ended before, one that ends meanwhile, two rooms of one job; the cut after each single step."""
    cut_at = 0
    rooms = [Room("a", "1"), Room(None, "1"), Room("b", "2")]
    finished = False
    while not finished:
        pair = Pair()
        for queue, job, event in (("a", "1", "added"), ("a", "1", "completed"), ("b", "2", "added")):
            pair.model.emit(queue, job, event)
        user = User(rooms, events)
        pair.rooms.join(user.watcher)
        pair.connect()
        for number in range(cut_at):
            finished = not pair.advance()
            if number == 6:
                pair.model.emit("b", "2", "progress")
        pair.cut()
        pair.model.emit("b", "2", "completed")
        pair.settle(30)
        assert [len(ends) for ends in user.ends.values()] == [1, 1, 1], cut_at
        assert [each.id for each in user.events[rooms[0]]] == ["2-0"]
        cut_at += 1
    assert cut_at > 10


KEYS = ("event", "data", "ref", "id", "jobs", "results", "queue", "jobId", "cursor")


@settings(max_examples=300)
@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
).map(json.dumps))  # fmt: skip
@example('{"event":"ack","ref":1,"data":{"results":[{}]}}')
@example('{"event":"ack","ref":1,"data":{"results":[]}}')
@example('{"event":"gap","data":{"queue":"a","jobs":null}}')
def test_whatever_the_bridge_says_raises_nothing_else(text: str) -> None:
    pair = Pair()
    pair.rooms.join(User([Room("a", "1")], None).watcher)
    pair.connect()
    pair.flush()
    try:
        pair.rooms.receive(decode_frame(text), len(text), 0.0)
        pair.flush()
    except UnreachableError:
        pass


# ---- examples ----


def asked(pair: Pair) -> list[tuple[str, list[Any]]]:
    """What the client sends now, without pings."""
    pair.flush()
    sent = [(each["event"], each["data"]["jobs"]) for each in pair.model.to_bridge if each["event"] != "ping"]
    pair.model.to_bridge.clear()
    return sent


def test_one_subscription_for_all_who_watch_a_room() -> None:
    pair = Pair()
    first, second = User([Room("a", "1")], OUTCOMES), User([Room("a", "1")], frozenset({"progress"}))
    pair.connect()
    pair.rooms.join(first.watcher)
    pair.rooms.join(second.watcher)
    union = {"jobId": "1", "queue": "a", "events": ["completed", "failed", "progress", "removed"]}
    assert asked(pair) == [("subscribe-job", [union])]
    pair.rooms.leave(second.watcher)
    assert asked(pair) == []
    pair.rooms.leave(first.watcher)
    assert asked(pair) == [("unsubscribe-job", [{"jobId": "1", "queue": "a"}])]


def test_a_room_is_asked_for_again_without_a_position_while_it_is_held() -> None:
    """A position may have been trimmed, and nothing is missed that would need it."""
    pair = Pair()
    pair.model.emit("a", "1", "added")
    pair.rooms.join(User([Room("a", "1")], OUTCOMES).watcher)
    pair.settle(1)
    pair.rooms.join(User([Room("a", "1")], OUTCOMES).watcher)
    assert asked(pair) == [("subscribe-job", [{"jobId": "1", "queue": "a"}])]
    pair.cut()
    pair.connect()
    assert asked(pair) == [("subscribe-job", [{"jobId": "1", "queue": "a", "after": {"a": "1-0"}}])]


def test_lists_keep_the_limits() -> None:
    pair = Pair(max_subscriptions=10)
    pair.rooms.join(User([Room("a", f"{number:050}") for number in range(30)], OUTCOMES).watcher)
    pair.connect()
    lists = asked(pair)
    assert [len(items) for _, items in lists] == [6, 4]  # 600 bytes a message, 10 rooms
    assert pair.rooms.due() > 0


def test_a_job_that_never_was_and_one_that_vanished() -> None:
    pair = Pair()
    pair.model.emit("a", "2", "added")
    users = [
        User([Room("a", "1")], OUTCOMES, strict=True),
        User([Room("a", "1")], OUTCOMES),
        User([Room("a", "2")], OUTCOMES, strict=True),
    ]
    for user in users:
        pair.rooms.join(user.watcher)
    pair.settle(1)
    (unknown,) = users[0].ends[Room("a", "1")]
    assert isinstance(unknown, JobUnknown)
    assert not users[1].ends[Room("a", "1")]
    pair.cut()
    pair.model.vanish("a", "2")
    pair.settle(1)
    (gone,) = users[2].ends[Room("a", "2")]
    assert (gone.event, gone.id) == ("removed", None)  # type: ignore[attr-defined]
    assert not users[1].ends[Room("a", "1")]


def test_a_job_is_only_unknown_by_an_answer_that_is_younger_than_the_question() -> None:
    pair = Pair()
    pair.connect()
    pair.rooms.join(User([Room("a", "1")], OUTCOMES).watcher)
    pair.flush()
    pair.model.process()
    pair.model.complete()  # its ack is under way
    pair.model.emit("a", "1", "added")
    late = User([Room("a", "1")], OUTCOMES, strict=True)
    pair.rooms.join(late.watcher)
    pair.deliver()
    assert not late.ends[Room("a", "1")]
    pair.settle(1)
    pair.model.emit("a", "1", "completed")
    pair.settle(1)
    assert late.ends[Room("a", "1")][0].event == "completed"  # type: ignore[attr-defined]


def answer(pair: Pair, event: str, data: object) -> None:
    """Answer the only request under way."""
    request = pair.model.to_bridge.pop(0)
    text = json.dumps({"event": event, "data": data, "ref": request["ref"]})
    pair.rooms.receive(decode_frame(text), len(text), pair.now)


def test_unavailable_passes_and_other_errors_do_not() -> None:
    pair = Pair()
    user = User([Room("a", "1"), Room("nope", "1"), Room("a", "2")], OUTCOMES)
    pair.rooms.join(user.watcher)
    pair.connect()
    pair.flush()
    refusals = [
        {"error": {"code": "unavailable", "message": "later"}},
        {"error": {"code": "unknown-queue", "message": "no such queue"}},
        {"jobs": []},
    ]
    answer(pair, "ack", {"request": "subscribe-job", "results": refusals, "cursor": {}})
    (refused,) = user.ends[Room("nope", "1")]
    assert isinstance(refused, ResponseError)
    assert (refused.code, str(refused)) == ("unknown-queue", "1: no such queue")
    assert [items for _, items in asked(pair)] == []
    pair.now = pair.rooms.due()
    assert 0 < pair.now <= 5
    assert asked(pair) == [("subscribe-job", [{"jobId": "1", "queue": "a"}])]


def test_a_refused_list_is_asked_for_again() -> None:
    pair = Pair()
    pair.rooms.join(User([Room("a", "1")], OUTCOMES).watcher)
    pair.connect()
    pair.flush()
    answer(pair, "error", {"code": "unavailable", "message": "later", "request": "subscribe-job"})
    assert asked(pair) == []
    pair.now = 5.0
    assert len(asked(pair)) == 1


def test_a_gap_is_told_to_those_whom_it_concerns() -> None:
    pair = Pair()
    users = [User([Room(queue, job)], OUTCOMES) for queue, job in (("a", "1"), ("a", "2"), (None, "1"), ("b", "1"))]
    for user in users:
        pair.rooms.join(user.watcher)
    pair.model.limits = pair.model.hello().limits
    pair.rooms.connected(HelloData("jobws.v1", "x", 20, Pair(9).model.limits), 0.0)
    pair.connected = True
    pair.model.limits = Pair(9).model.limits
    for queue, job in (("a", "1"), ("a", "2"), ("b", "1")):
        pair.model.emit(queue, job, "added")
    pair.settle(1)
    for jobs, told in ((["1"], (1, 0, 1, 0)), (None, (2, 1, 2, 0))):
        data = {"queue": "a", "reason": "trimmed", "jobs": jobs, "cursor": {"a": "4-0"}}
        pair.rooms.receive(decode_frame(json.dumps({"event": "gap", "data": data})), 1, pair.now)
        assert tuple(len(events) for user in users for events in user.events.values()) == told
    # What the bridge repairs may lie before the gap's cursor, so a connection lost now must not resume from there.
    pair.cut()
    pair.connect()
    ((_, items),) = asked(pair)
    # Without any, no outcome would be told that is older than a minute, if several queues know the id (R8).
    assert [item.get("after") for item in items] == [None, None, {"a": "3-0", "b": "3-0"}, {"b": "3-0"}]


def test_a_position_of_another_stream_is_not_kept() -> None:
    pair = Pair(streams=2)
    pair.model.emit("a", "1", "active")
    user = User([Room("a", "1")], None)
    pair.rooms.join(user.watcher)
    pair.settle(1)
    pair.cut()
    pair.model.begin_again("a")
    pair.model.emit("a", "1", "progress")
    pair.settle(1)
    pair.model.emit("a", "1", "progress")
    pair.settle(1)
    pair.cut()
    pair.connect()
    ((_, (item,)),) = asked(pair)
    assert item["after"] == {"a": "3-0"}
    pair.cut()
    pair.model.emit("a", "1", "progress")
    pair.settle(1)
    told = [(each.event, each.id) for each in user.events[Room("a", "1")]]
    assert told == [("gap", None), ("progress", "3-0"), ("progress", "4-0")]


def test_what_came_is_known_also_if_its_stream_is_found_to_be_another_one_only_then() -> None:
    pair = Pair()
    user = User([Room("a", "1")], None)
    pair.rooms.join(user.watcher)
    pair.settle(1)
    pair.model.emit("a", "1", "active")
    pair.settle()
    gap = {"queue": "a", "reason": "recreated", "jobs": None, "cursor": {"a": "1-0"}}
    for frame in (
        {"event": "gap", "data": gap},
        {"event": "active", "id": "1-0", "data": {"queue": "a", "jobId": "1"}, "replayed": True},
    ):
        pair.rooms.receive(decode_frame(json.dumps(frame)), 1, pair.now)
    assert [each.event for each in user.events[Room("a", "1")]] == ["active", "gap"]


def test_what_was_held_during_the_look_up_is_handed_out_at_once() -> None:
    """It is counted among what is read back, but not marked so; not even a pong is needed to know that it is next."""
    pair = Pair()
    user = User([Room("a", "1")], None)
    pair.rooms.join(user.watcher)
    pair.connect()
    pair.flush()
    pair.model.process()
    pair.model.emit("a", "1", "active")
    pair.model.complete()
    pair.deliver()
    pair.deliver()
    assert [each.event for each in user.events[Room("a", "1")]] == ["active"]


def test_what_is_read_back_for_one_job_is_no_position_for_another_one() -> None:
    """An outcome of a life before this one lies behind it, and would come back with it."""
    pair = Pair()
    for job, event in (("2", "completed"), ("1", "failed"), ("1", "waiting")):
        pair.model.emit("a", job, event)
    user = User([Room("a", "1"), Room("a", "2")], OUTCOMES)
    pair.rooms.join(user.watcher)
    pair.connect()
    pair.flush()
    pair.model.process()
    pair.model.complete()
    pair.deliver()
    pair.cut()
    pair.settle(1)
    assert not user.ends[Room("a", "1")]


def test_a_job_is_unknown_at_once_also_beside_one_whose_outcome_only_the_hash_has() -> None:
    """A queue without events has no position that could be later than the answer's."""
    pair = Pair()
    user = User([Room("a", "1"), Room("a", "2")], OUTCOMES, strict=True)
    pair.rooms.join(user.watcher)
    pair.connect()
    pair.flush()
    results = [{"jobs": [{"queue": "a", "jobId": "1", "state": "completed"}], "replays": 1}, {"jobs": []}]
    answer(pair, "ack", {"request": "subscribe-job", "results": results, "cursor": {"a": "0-0"}})
    (unknown,) = user.ends[Room("a", "2")]
    assert isinstance(unknown, JobUnknown)


def test_who_does_not_read_has_its_rooms_left_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_module, "BACKLOG_BYTES", 1000)
    pair = Pair()
    pair.model.emit("a", "1", "added")
    slow, quick = User([Room("a", "1")], None), User([Room("a", "2")], None)
    pair.rooms.join(slow.watcher)
    pair.rooms.join(quick.watcher)
    pair.settle(1)
    for number in range(200):
        pair.model.emit("a", "1", "progress")
        if number % 10 == 0:
            pair.settle()
    pair.settle(1)
    assert 1000 < slow.watcher.backlog < 3000
    assert Room("a", "1") not in pair.model._members
    pair.model.emit("a", "2", "completed")
    pair.settle()
    assert quick.ends[Room("a", "2")]
    while pair.model.end > len(slow.events[Room("a", "1")]) + 2:  # its `added`, and the other's outcome
        before = len(slow.events[Room("a", "1")])
        pair.rooms.consume(slow.watcher, slow.watcher.backlog)
        pair.settle(1)
        assert len(slow.events[Room("a", "1")]) > before
    told = [event.id for event in slow.events[Room("a", "1")]]
    assert told == [entry.id for entry in pair.model.stream if entry.event == "progress"]


def test_more_rooms_than_places_take_turns() -> None:
    """More than the places, the first of which never end."""
    pair = Pair(max_subscriptions=100)
    rooms = [Room("a", str(number)) for number in range(500)]
    user = User(rooms, OUTCOMES)
    pair.rooms.join(user.watcher)
    for room in rooms[100:]:
        pair.model.emit("a", str(room.job_id), "completed")
    pair.settle(60)
    assert all(len(user.ends[room]) == 1 for room in rooms[100:])
    # Places are filled many at once: the bridge takes 50 messages a second, and there were 400 outcomes.
    assert pair.sent < 200
    for room in rooms[:100]:
        pair.model.emit("a", str(room.job_id), "completed")
    pair.settle(60)
    assert all(len(ends) == 1 for ends in user.ends.values())
    assert pair.model.most == 100


def test_after_a_refusal_everybody_is_told() -> None:
    pair = Pair()
    users = [User([Room("a", "1"), Room("a", "2")], OUTCOMES) for _ in range(2)]
    pair.rooms.join(users[0].watcher)
    pair.connect()
    pair.rooms.fail(RefusedError("stay away"))
    pair.rooms.join(users[1].watcher)
    for user in users:
        assert [str(end) for ends in user.ends.values() for end in ends] == ["stay away"] * 2
    assert pair.rooms.due() == inf
