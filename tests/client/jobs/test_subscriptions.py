"""The client's pure part against a bridge in memory: whatever happens, the user gets each outcome once."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobws.client.frames import decode_frame
from jobws.client.jobs import subscriptions
from jobws.client.jobs.places import PER_JOB, TURN_SECONDS
from jobws.errors import RefusedError, ResponseError, UnreachableError
from jobws.protocol.messages import OUTCOMES
from jobws.protocol.request_types import Room
from tests.client.jobs.model import QUEUES
from tests.client.jobs.pair import Pair, User

JOBS = ("1", "2", "3")
ROOMS = [Room(queue, job) for job in JOBS for queue in (*QUEUES, None)]
EVENTS = ("added", "active", "progress", "progress", "completed", "failed", "waiting", "removed")
STEPS = st.lists(st.integers(0, 2**16), min_size=20, max_size=150)


def step(pair: Pair, users: list[User], number: int) -> None:
    """Do one of the things that can happen, chosen by a number."""
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
                pair.client.join(users[-1].watch)
        case 4:
            if users:
                pair.client.leave(users.pop(more % len(users)).watch)
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


@settings(max_examples=300)
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
        assert user.ended
        for room, ends in user.ends.items():
            assert len(ends) == 1, (room, user.events[room])
            numbers = [event.data["number"] for event in user.events[room] if "number" in event.data]
            assert len(set(numbers)) == len(numbers)
            told: list[Any] = [event.data for event in user.events[room] if event.event != "gap"]
            assert all(Room(room.queue and data["queue"], data["jobId"]) == room for data in told)
    # No user watches any more, and the bridge knows this.
    assert not any(watch.open for watch in pair.client._watches)
    assert not pair.client._places.taken
    assert not pair.model.members


@settings(max_examples=200)
@given(STEPS)
def test_a_watch_misses_no_event(steps: list[int]) -> None:
    """Six subscriptions have three places, two of them to one job, and connections break.

    Every event after the answer comes, in order and once.
    """
    pair = Pair()
    jobs = "12345"
    rooms = [Room("a", job) for job in jobs] + [Room(None, "1")]
    for job in jobs:
        pair.model.emit("a", job, "added")
    user = User(rooms, None)
    pair.client.join(user.watch)
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
    """Some jobs have ended before, one ends meanwhile, and two subscriptions are to one job.

    The connection breaks after each single step.
    """
    cut_at = 0
    rooms = [Room("a", "1"), Room(None, "1"), Room("b", "2")]
    finished = False
    while not finished:
        pair = Pair()
        for queue, job, event in (("a", "1", "added"), ("a", "1", "completed"), ("b", "2", "added")):
            pair.model.emit(queue, job, event)
        user = User(rooms, events)
        pair.client.join(user.watch)
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
    assert cut_at > 8


KEYS = ("event", "data", "ref", "sub", "id", "jobs", "results", "queue", "jobId", "after", "evicted", "position")


@settings(max_examples=300)
@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="replace")) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=12,
).map(json.dumps))  # fmt: skip
@example('{"event":"ack","ref":2,"data":{"results":[{}]}}')
@example('{"event":"ack","ref":2,"data":{"results":[]}}')
@example('{"event":"ack","ref":2,"data":{"results":[{"after":{"a":"x"}}]}}')
@example('{"event":"error","ref":2,"data":{}}')
@example('{"event":"gap","data":{"queue":"a","jobs":null}}')
@example('{"event":"gap","sub":1,"data":{"queue":"a","jobs":null}}')
@example('{"event":"progress","sub":1,"id":"1-0","data":{}}')
@example('{"event":"job-log","sub":1,"data":{"queue":"a"}}')
def test_whatever_the_bridge_says_raises_nothing_else(text: str) -> None:
    for acked in (False, True):
        pair = Pair()
        pair.client.join(User([Room("a", "1")], None).watch)
        pair.connect()
        pair.flush()
        if acked:
            answer(pair, {"jobs": []})
        try:
            for each in (text, '{"event":"pong","data":{"after":{"a":"5-0"}}}'):
                say(pair, each)
                pair.flush()
        except UnreachableError:
            pass


# ---- examples ----


def say(pair: Pair, frame: str | dict[str, Any]) -> None:
    """Let the bridge send this."""
    text = frame if isinstance(frame, str) else json.dumps(frame)
    pair.client.receive(decode_frame(text), len(text), pair.now)


def asked(pair: Pair) -> list[tuple[str, list[Any]]]:
    """Return what the client sends now, without pings, refs and names."""
    pair.flush()
    sent = [(each["event"], each["data"]["jobs"]) for each in pair.model.to_bridge if each["event"] != "ping"]
    pair.model.to_bridge.clear()
    for _, items in sent:
        assert all(isinstance(item.pop("sub"), int) for item in items)
    return sent


def answer(pair: Pair, *results: object, **data: object) -> list[int]:
    """Acknowledge the only request that is under way. Return the names in it."""
    request = pair.model.to_bridge.pop(0)
    say(pair, {"event": "ack", "data": {"results": results, **data}, "ref": request["ref"]})
    return [item["sub"] for item in request["data"]["jobs"]]


def watching(*rooms: Room, strict: bool = False) -> tuple[Pair, User]:
    """Return a client that waits for an answer."""
    pair, user = Pair(10), User(list(rooms), None, strict=strict)
    pair.client.join(user.watch)
    pair.connect()
    pair.flush()
    return pair, user


def after(pair: Pair) -> Any:
    """Return the positions with which the client returns."""
    pair.cut()
    pair.connect()
    ((_, (item,)),) = asked(pair)
    return item.get("after")


def told(user: User) -> list[tuple[str, str | None]]:
    return [(event.event, event.id) for events in user.events.values() for event in events]


def test_each_watch_is_a_subscription_that_asks_for_what_it_wants() -> None:
    pair = Pair()
    first, second = User([Room("a", "1")], OUTCOMES), User([Room("a", "1")], frozenset({"progress"}))
    pair.connect()
    pair.client.join(first.watch)
    pair.client.join(second.watch)
    events = ["completed", "failed", "progress", "removed"]
    plain = {"jobId": "1", "queue": "a"}
    assert asked(pair) == [("subscribe-job", [plain, {**plain, "events": events}])]
    pair.client.leave(second.watch)
    assert asked(pair) == [("unsubscribe-job", [plain])]
    pair.client.leave(first.watch)
    assert asked(pair) == [("unsubscribe-job", [plain])]


def test_a_wait_is_one_message() -> None:
    pair = Pair()
    for number in range(1000):
        pair.model.emit("a", str(number), "completed")
        user = User([Room("a", str(number))], OUTCOMES, strict=True)
        pair.client.join(user.watch)
        pair.settle()
        assert len(user.ends[Room("a", str(number))]) == 1
        assert pair.sent == number + 1


def test_lists_keep_the_limits() -> None:
    pair = Pair(max_subscriptions=10)
    pair.client.join(User([Room("a", f"{number:050}") for number in range(30)], OUTCOMES).watch)
    pair.connect()
    lists = asked(pair)
    assert [len(items) for _, items in lists] == [5, 5]  # messages of 600 bytes, and 10 places
    pair = Pair(max_subscriptions=10)
    pair.client.join(User([Room("a", f"{number:0150}") for number in range(6)], OUTCOMES).watch)
    pair.connect()
    assert [len(items) for _, items in asked(pair)] == [1, 2, 1, 2]  # halves of halves


def test_of_more_names_than_the_bridge_takes_the_client_picks() -> None:
    room = Room("a", "1")
    for names, sent in ((29, 32), (30, 1)):
        pair, user = Pair(10), User([room], frozenset(f"e{number}" for number in range(names)))
        pair.client.join(user.watch)
        pair.connect()
        pair.flush()
        assert len(pair.model.to_bridge[0]["data"]["jobs"][0]["events"]) == sent
        (sub,) = answer(pair, {"jobs": []})
        for event in ("other", "e7", "completed"):
            say(pair, {"event": event, "sub": sub, "data": {"queue": "a", "jobId": "1"}})
        assert told(user) == [("e7", None), ("completed", None)]


def test_a_job_that_never_was_and_one_that_vanished() -> None:
    pair = Pair()
    pair.model.emit("a", "2", "added")
    users = [
        User([Room("a", "1")], OUTCOMES, strict=True),
        User([Room("a", "1")], OUTCOMES),
        User([Room("a", "2")], OUTCOMES, strict=True),
    ]
    for user in users:
        pair.client.join(user.watch)
    pair.settle(1)
    (unknown,) = users[0].ends[Room("a", "1")]
    assert (unknown.event, unknown.data, unknown.replayed) == ("unknown", {"jobId": "1", "queue": "a"}, False)
    assert not users[1].ends[Room("a", "1")]
    assert len(pair.model.members) == 2
    pair.cut()
    pair.model.vanish("a", "2")
    pair.settle(1)
    (gone,) = users[2].ends[Room("a", "2")]
    assert (gone.event, gone.id, gone.replayed) == ("removed", None, True)
    assert gone.data == {"jobId": "2", "queue": "a"}
    assert not users[1].ends[Room("a", "1")]
    assert len(pair.model.members) == 1


def test_a_job_that_was_seen_only_by_its_event_is_removed_too() -> None:
    pair, user = watching(Room("a", "1"))
    (sub,) = answer(pair, {"jobs": [], "unknown": True})
    say(pair, {"event": "added", "sub": sub, "id": "6-0", "data": {"queue": "a", "jobId": "1"}})
    pair.cut()
    pair.connect()
    pair.flush()
    answer(pair, {"jobs": [], "unknown": True})
    assert told(user) == [("added", "6-0"), ("removed", None)]


def test_a_queue_that_is_not_there_yet_is_an_error_for_those_who_do_not_expect_it() -> None:
    for strict in (True, False):
        pair, user = watching(Room("fresh", "1"), strict=strict)
        answer(pair, {"jobs": [], "unknown": True, "unknownQueue": True, "after": {"fresh": "0-0"}})
        ends = user.ends[Room("fresh", "1")]
        assert [(end.code, str(end)) for end in ends] == strict * [
            ("unknown-queue", '1: no queue "fresh"; if it is about to come, wait with expect=True')
        ]
        assert len(asked(pair)) == strict  # it is left


def test_an_item_overrides_what_is_common_and_of_another_queue_is_nothing_kept() -> None:
    pair, _ = watching(Room("a", "1"))
    answer(pair, {"jobs": [], "after": {"a": "3-0"}}, after={"a": "9-0", "b": "9-0"})
    assert after(pair) == {"a": "3-0"}
    pair, _ = watching(Room(None, "1"))
    answer(pair, {"jobs": [], "after": {"a": "3-0~7"}}, after={"b": "9-0"})
    assert after(pair) == {"a": "3-0~7", "b": "9-0"}


def test_positions_are_those_of_the_latest_ack() -> None:
    pair, _ = watching(Room(None, "1"))
    answer(pair, {"jobs": [], "after": {"a": "9-0", "b": "9-0"}})
    pair.cut()
    pair.connect()
    pair.flush()
    answer(pair, {"jobs": [], "after": {"a": "3-0"}})
    assert after(pair) == {"a": "3-0"}


def test_no_position_is_one_too() -> None:
    """An empty `after` tells the bridge that the client was there before (R4)."""
    pair, _ = watching(Room(None, "1"))
    answer(pair, {"jobs": [], "unknown": True})
    assert after(pair) == {}
    pair, _ = watching(Room(None, "1"))
    assert after(pair) is None


def test_an_event_is_a_position_and_one_without_id_is_none() -> None:
    pair, user = watching(Room("a", "1"))
    (sub,) = answer(pair, {"jobs": [], "after": {"a": "3-0"}})
    data = {"queue": "a", "jobId": "1"}
    say(pair, {"event": "progress", "sub": sub, "id": "7-0", "data": data})
    say(pair, {"event": "progress", "sub": sub, "data": data})
    assert after(pair) == {"a": "7-0"}
    assert told(user) == [("progress", "7-0"), ("progress", None)]


def test_a_pong_is_taken_where_it_is_later() -> None:
    for reached, kept in (
        ({"a": "100-0"}, "100-0"),
        ({"a": "10-1"}, "10-1"),
        ({"a": "10-0"}, "10-0"),
        ({"a": "9-5"}, "10-0"),
        ({"b": "100-0"}, "10-0"),
    ):
        pair, _ = watching(Room("a", "1"))
        answer(pair, {"jobs": [], "after": {"a": "10-0"}})
        say(pair, {"event": "pong", "data": {"after": reached}})
        assert after(pair) == {"a": kept}
    pair, _ = watching(Room(None, "1"))
    answer(pair, {"jobs": [], "after": {"a": "10-0~17"}})
    say(pair, {"event": "pong", "data": {"after": {"a": "11-0", "b": "5-0"}}})
    assert after(pair) == {"a": "11-0~17", "b": "5-0"}
    pair, _ = watching(Room(None, "1"))
    answer(pair, {"jobs": [], "unknown": True})
    say(pair, {"event": "pong", "data": {"after": {"b": "5-0"}}})
    assert after(pair) == {"b": "5-0"}
    pair, _ = watching(Room("a", "1"))
    say(pair, {"event": "pong", "data": {"after": {"a": "11-0"}}})  # its ack is due, so this is about others
    assert after(pair) is None


def test_a_pong_on_the_next_connection_means_what_is_acknowledged_there() -> None:
    pair, _ = watching(Room("a", "1"))
    answer(pair, {"jobs": [], "after": {"a": "10-0"}})
    pair.cut()
    pair.connect()
    pair.flush()
    say(pair, {"event": "pong", "data": {"after": {"a": "100-0"}}})
    assert after(pair) == {"a": "10-0"}


def test_a_gap_of_an_answer_is_told() -> None:
    pair, user = watching(Room(None, "1"))
    answer(pair, {"jobs": [], "gap": True})
    assert [(event.event, event.data) for event in user.events[Room(None, "1")]] == [
        ("gap", {"queue": None, "jobs": ["1"]})
    ]


def test_an_answer_that_says_nothing_of_an_item_is_none() -> None:
    pair, _ = watching(Room("a", "1"), Room("a", "2"))
    with pytest.raises(UnreachableError):
        answer(pair, {"jobs": []})


def test_late_frames_of_a_watch_that_was_left_are_nobodys() -> None:
    pair, user = watching(Room("a", "1"))
    (sub,) = answer(pair, {"jobs": [], "after": {"a": "3-0"}})
    pair.cut()
    pair.connect()
    pair.flush()
    say(pair, {"event": "completed", "sub": sub, "id": "9-0", "data": {"queue": "a", "jobId": "1"}})
    assert told(user) == []
    assert after(pair) == {"a": "3-0"}


def test_an_answer_is_to_its_own_subscription() -> None:
    """The first subscription was ended, and another one requested, before the first one was answered."""
    pair, first = watching(Room("a", "1"), strict=True)
    pair.client.leave(first.watch)
    second = User([Room("a", "1")], None)
    pair.client.join(second.watch)
    pair.flush()
    answer(pair, {"jobs": [], "unknown": True})
    assert not first.ends[Room("a", "1")]
    assert not second.answers
    pair.model.to_bridge.pop(0)
    answer(pair, {"jobs": []})
    assert second.answers


def test_one_that_is_left_before_it_was_asked_for_is_not_mentioned() -> None:
    pair = Pair()
    pair.connect()
    user = User([Room("a", "1")], OUTCOMES)
    pair.client.join(user.watch)
    pair.client.leave(user.watch)
    assert asked(pair) == []


def test_unavailable_passes_and_other_errors_do_not() -> None:
    pair, user = watching(Room("a", "1"), Room("nope", "1"), Room("a", "2"))
    refusals = [
        {"error": {"code": "unavailable", "message": "later"}},
        {"error": {"code": "unknown-queue", "message": "no such queue"}},
        {"jobs": []},
    ]
    answer(pair, *refusals)
    (refused,) = user.ends[Room("nope", "1")]
    assert isinstance(refused, ResponseError)
    assert (refused.code, str(refused)) == ("unknown-queue", "1: no such queue")
    assert asked(pair) == []
    pair.now = pair.client.due()
    assert pair.now == 1.0  # half a second, and up to half a second at random
    assert [items[0]["jobId"] for _, items in asked(pair)] == ["1"]


def test_a_refused_list_is_asked_for_again() -> None:
    pair, user = watching(Room("a", "1"), Room("a", "2"))
    for code, again in (("unavailable", 1), ("too-many", 0)):
        ref = pair.model.to_bridge.pop(0)["ref"]
        say(pair, {"event": "error", "ref": ref, "data": {"code": code, "message": "later"}})
        pair.flush()
        assert not pair.model.to_bridge
        pair.now = 1.0
        pair.flush()
        assert len(pair.model.to_bridge) == again
    assert [len(ends) for ends in user.ends.values()] == [1, 1]


def test_one_that_waits_to_ask_again_can_be_left() -> None:
    pair, user = watching(Room("a", "1"))
    answer(pair, {"error": {"code": "unavailable", "message": "later"}})
    pair.client.leave(user.watch)
    pair.now = 5.0
    assert asked(pair) == []


def test_one_that_was_evicted_is_asked_for_again() -> None:
    pair, _ = watching(Room("a", "1"))
    (sub,) = answer(pair, {"jobs": [], "after": {"a": "3-0"}})
    pair.client.join(User([Room("a", "2")], OUTCOMES).watch)
    pair.flush()
    answer(pair, {"jobs": []}, evicted=[{"sub": sub, "jobId": "1", "queue": "a"}, {"jobId": "x"}])
    assert asked(pair) == [("subscribe-job", [{"jobId": "1", "queue": "a", "events": ["*"], "after": {"a": "3-0"}}])]
    assert sub not in pair.client._places.taken


def test_a_gap_is_told_to_those_whom_it_concerns() -> None:
    rooms = [Room("a", "1"), Room("a", "2"), Room(None, "1"), Room("b", "1")]
    pair, user = watching(*rooms)
    subs = answer(pair, *({"jobs": [], "after": {"a": "3-0", "b": "3-0"}} for _ in rooms))
    late = User([Room("a", "1")], None)
    pair.client.join(late.watch)
    pair.flush()  # it is not acknowledged
    gaps: list[tuple[dict[str, Any], dict[str, Any], tuple[int, ...]]] = [
        ({"jobs": ["1"], "reason": "trimmed"}, {}, (1, 0, 1, 0)),
        ({"jobs": None, "reason": "trimmed"}, {}, (2, 1, 2, 0)),
        ({"jobs": None, "reason": "recreated"}, {"sub": subs[0]}, (3, 1, 2, 0)),
        ({"jobs": ["1"], "reason": "ahead"}, {"sub": subs[2]}, (3, 1, 3, 0)),
    ]
    for data, keys, counts in gaps:
        say(pair, {"event": "gap", "data": {"queue": "a", **data}, **keys})
        assert tuple(len(user.events[room]) for room in rooms) == counts
        assert user.events[rooms[0]][-1].data.keys() == {"queue", "jobs", "reason"}
    assert not late.events[Room("a", "1")]
    pair.cut()
    pair.connect()
    ((_, items),) = asked(pair)
    zero, three = {"a": "0-0"}, {"a": "3-0"}
    expected = [zero, three, {"a": "0-0", "b": "3-0"}, {"b": "3-0"}, None]
    assert [item.get("after") for item in items] == expected


def test_lines_move_positions_of_their_own() -> None:
    pair = Pair(10)
    user = User([Room(None, "1")], OUTCOMES, logs=True)
    pair.client.join(user.watch)
    pair.connect()
    pair.flush()
    (item,) = pair.model.to_bridge[0]["data"]["jobs"]
    assert item["logs"] is True
    (sub,) = answer(pair, {"jobs": [], "after": {"a": "3-0"}})
    for queue, position in (("a", "1.x"), ("b", "2.y"), ("a", "3.z")):
        data = {"queue": queue, "jobId": "1", "lines": ["u"], "first": 0, "position": position}
        say(pair, {"event": "job-log", "sub": sub, "data": data})
    assert [event.event for event in user.events[Room(None, "1")]] == ["job-log"] * 3
    pair.cut()
    pair.connect()
    ((_, (item,)),) = asked(pair)
    assert (item["after"], item["logs"]) == ({"a": "3-0"}, {"after": {"a": "3.z", "b": "2.y"}})


@pytest.fixture
def small_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "BACKLOG_BYTES", 1000)


@pytest.mark.usefixtures("small_backlog")
def test_who_does_not_read_is_left_and_loses_nothing() -> None:
    pair = Pair()
    pair.model.emit("a", "1", "added")
    slow, quick = User([Room("a", "1")], None), User([Room("a", "2")], None)
    pair.client.join(slow.watch)
    pair.client.join(quick.watch)
    pair.settle(1)
    for number in range(200):
        pair.model.emit("a", "1", "progress")
        if number % 10 == 0:
            pair.settle()
    pair.settle(1)
    assert 1000 < slow.watch.backlog < 1200  # after it was left, what is under way is dropped
    assert [member.job for member in pair.model.members] == ["2"]
    pair.cut()
    pair.settle(1)
    assert [member.job for member in pair.model.members] == ["2"]
    pair.model.emit("a", "2", "completed")
    pair.settle()
    assert quick.ends[Room("a", "2")]
    while pair.model.end > len(slow.events[Room("a", "1")]) + 2:  # its `added`, and the other's outcome
        before = len(slow.events[Room("a", "1")])
        pair.client.consume(slow.watch, slow.watch.backlog)
        pair.settle(1)
        assert len(slow.events[Room("a", "1")]) > before
    numbers = [event.data["number"] for event in slow.events[Room("a", "1")]]
    assert numbers == [entry.number for entry in pair.model.stream if entry.event == "progress"]


@pytest.mark.usefixtures("small_backlog")
def test_who_read_half_of_it_comes_back() -> None:
    pair, user = watching(Room("a", "1"), Room("a", "2"))
    sub, _ = answer(pair, {"jobs": []}, {"jobs": []})
    data = {"queue": "a", "jobId": "1", "data": "x" * 1000}
    say(pair, {"event": "progress", "sub": sub, "id": "6-0", "data": data})
    ((event, items),) = asked(pair)
    assert (event, len(items)) == ("unsubscribe-job", 2)
    size = user.watch.backlog
    assert size > 1000
    pair.client.consume(user.watch, size - 501)
    assert asked(pair) == []
    pair.client.consume(user.watch, 1)
    ((event, items),) = asked(pair)
    assert (event, len(items)) == ("subscribe-job", 2)
    pair.client.consume(user.watch, 500)
    assert asked(pair) == []


@pytest.mark.usefixtures("small_backlog")
def test_one_that_was_left_stays_left_when_its_user_reads_on() -> None:
    pair, user = watching(Room("a", "1"))
    (sub,) = answer(pair, {"jobs": []})
    data = {"queue": "a", "jobId": "1", "data": "x" * 1000}
    say(pair, {"event": "progress", "sub": sub, "id": "6-0", "data": data})
    assert [event for event, _ in asked(pair)] == ["unsubscribe-job"]
    pair.client.leave(user.watch)
    pair.client.consume(user.watch, user.watch.backlog)
    assert asked(pair) == []


@pytest.mark.usefixtures("small_backlog")
def test_one_that_reads_half_of_it_after_a_refusal_is_told() -> None:
    pair, user = watching(Room("a", "1"))
    (sub,) = answer(pair, {"jobs": []})
    data = {"queue": "a", "jobId": "1", "data": "x" * 1000}
    say(pair, {"event": "progress", "sub": sub, "id": "6-0", "data": data})
    pair.client.fail(RefusedError("stay away"))
    assert not user.ends[Room("a", "1")]
    pair.client.consume(user.watch, user.watch.backlog)
    assert [str(end) for end in user.ends[Room("a", "1")]] == ["stay away"]


def test_more_than_there_are_places_take_turns() -> None:
    """There are more subscriptions than places, and the first ones never end."""
    pair = Pair(max_subscriptions=100)
    rooms = [Room("a", str(number)) for number in range(500)]
    user = User(rooms, OUTCOMES)
    pair.client.join(user.watch)
    for room in rooms[100:]:
        pair.model.emit("a", str(room.job_id), "completed")
    pair.settle(60)
    assert all(len(user.ends[room]) == 1 for room in rooms[100:])
    # Many places are filled together, since the bridge takes few messages a second, and there were 400 outcomes.
    assert pair.sent < 200
    for room in rooms[:100]:
        pair.model.emit("a", str(room.job_id), "completed")
    pair.settle(60)
    assert all(len(ends) == 1 for ends in user.ends.values())
    assert pair.model.most == 100


def test_one_whose_answer_is_due_keeps_its_place() -> None:
    pair = Pair(max_subscriptions=1)
    pair.connect()
    for job in ("1", "2"):
        pair.client.join(User([Room("a", job)], OUTCOMES).watch)
    assert len(asked(pair)) == 1
    pair.now = TURN_SECONDS
    assert asked(pair) == []


def test_a_place_whose_answer_is_due_is_none_for_those_that_wait() -> None:
    """A subscription that was answered gives up its place instead, however long the other answer takes."""
    pair = Pair(max_subscriptions=2)
    pair.connect()
    for job in ("1", "2", "3"):
        pair.client.join(User([Room("a", job)], OUTCOMES).watch)
        pair.flush()
        if job == "1":
            answer(pair, {"after": {"a": "1-0"}})
    pair.model.to_bridge.clear()
    pair.now = TURN_SECONDS
    assert [(event, [item["jobId"] for item in items]) for event, items in asked(pair)] == [
        ("unsubscribe-job", ["1"]),
        ("subscribe-job", ["3"]),
    ]


def test_as_many_are_moved_as_wait_for_the_same_job() -> None:
    pair = Pair(max_subscriptions=100)
    for _ in range(PER_JOB + 1):
        pair.client.join(User([Room("a", "1")], OUTCOMES).watch)
    pair.settle()
    before = {member.sub for member in pair.model.members}
    pair.settle(TURN_SECONDS + 0.5)
    assert len(before & {member.sub for member in pair.model.members}) == PER_JOB - 1


def test_nobody_is_moved_for_nothing_and_a_turn_has_its_time() -> None:
    pair = Pair(max_subscriptions=2)
    users = [User([Room("a", str(number))], OUTCOMES) for number in range(3)]
    for user in users[:2]:
        pair.client.join(user.watch)
    pair.settle(4 * TURN_SECONDS)
    assert pair.sent == 1
    pair.client.join(users[2].watch)
    pair.settle(TURN_SECONDS)
    assert [member.job for member in pair.model.members] == ["1", "2"]
    pair.settle(TURN_SECONDS - 1)
    assert [member.job for member in pair.model.members] in (["1", "2"], ["2", "0"])
    pair.settle(2 * TURN_SECONDS)
    assert pair.sent - 1 in (2 * 3, 2 * 4)  # three or four turns of two messages


def test_many_watches_of_one_job_take_turns_too() -> None:
    """The bridge allows 16 subscriptions to one job (S6)."""
    pair = Pair(max_subscriptions=100)
    pair.model.emit("a", "1", "added")
    users = [User([Room(("a", None)[number % 2], "1")], OUTCOMES) for number in range(3 * PER_JOB)]
    other = User([Room("a", "2")], OUTCOMES)
    for user in (*users, other):
        pair.client.join(user.watch)
    pair.settle()
    assert len(pair.model.members) == PER_JOB + 1
    pair.settle(2.5 * TURN_SECONDS)
    assert all(user.answers for user in users)  # each one had a place for a while
    pair.client.leave(users[-1].watch)
    for user in users[:3]:
        pair.client.leave(user.watch)
    pair.settle()
    assert len(pair.model.members) == PER_JOB + 1
    pair.model.emit("a", "1", "completed")
    pair.settle()
    assert [len(ends) for user in users for ends in user.ends.values()] == [0] * 3 + [1] * (3 * PER_JOB - 4) + [0]
    assert pair.model.most_of_one == PER_JOB
    assert [member.job for member in pair.model.members] == ["2"]


def test_it_rests_when_all_was_asked_for() -> None:
    pair = Pair()
    pair.connect()
    pair.client.join(User([Room("a", "1")], OUTCOMES).watch)
    pair.settle()
    assert pair.client.due() == inf


def test_after_a_refusal_everybody_is_told() -> None:
    pair = Pair()
    users = [User([Room("a", "1"), Room("a", "2")], OUTCOMES) for _ in range(2)]
    pair.client.join(users[0].watch)
    pair.connect()
    pair.client.fail(RefusedError("stay away"))
    pair.client.join(users[1].watch)
    for user in users:
        assert [str(end) for ends in user.ends.values() for end in ends] == ["stay away"] * 2
    assert pair.client.due() == inf
