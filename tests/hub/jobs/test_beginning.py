"""Where a subscription begins: what its ack says, which past events it gets, and which outcomes come from the hash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobws.hub.jobs.beginning import AMBIGUOUS_MILLISECONDS
from jobws.hub.jobs.subscription import ALIVE, JobEnded
from tests.hub.one_bridge import QUEUES, Bridge, Client, event, hash_of
from tests.support.fanout import ignore
from tests.support.steps import begin_again

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hub.one_bridge import Found

JOB = ("http", "1")
BEFORE_5 = "4-18446744073709551615"
LATEST = 1000 * AMBIGUOUS_MILLISECONDS
OLD, NEW = f"{LATEST - AMBIGUOUS_MILLISECONDS - 1}-0", f"{LATEST - AMBIGUOUS_MILLISECONDS}-0"


class Begun:
    """A subscription that was answered."""

    def __init__(
        self,
        bridge: Bridge,
        found: Found | None = None,
        end: str = "0-0",
        now: float = 0,
        meanwhile: tuple[tuple[str, str], ...] = (),
        **data: Any,
    ) -> None:
        def publish() -> None:
            for stream_id, name in meanwhile:
                bridge.publish(stream_id, event(name))

        self.client = client = Client(bridge)
        client.complete(client.begin({"jobId": "1", **data}), found, end, now=now, meanwhile=publish)
        (frame,) = client.frames()
        self.ack: dict[str, Any] = frame["data"]
        self.member = client.member()
        self.replayed: list[tuple[str, bytes]] = []
        self.owed: list[str] = []
        while client.hub_client.backlog:
            events, owed = client.hub_client.backlog.take(100)
            self.replayed += [(of.queue, of.stream_ids[index]) for of, index in events]
            self.owed += [each.queue for each in owed]

    @property
    def after(self) -> Any:
        return self.ack["after"]

    @property
    def marks(self) -> set[str]:
        """Return the other keys of the answer."""
        return self.ack.keys() & {"unknown", "gap", "ambiguous", "unknownQueue"}


def bridge_with(*entries: tuple[str, str], queue: str = "http", on_gap: Callable[[str], None] = ignore) -> Bridge:
    """Return a bridge whose stream has these events, by id and name."""
    bridge = Bridge(on_gap=on_gap)
    for stream_id, name in entries:
        bridge.publish(stream_id, event(name), queue)
    return bridge


HTTP: dict[str, Any] = {"queue": "http"}


def test_a_client_that_comes_late_gets_the_outcome_that_the_stream_has() -> None:
    begun = Begun(
        bridge_with(("4-0", "active"), ("5-0", "completed"), ("6-0", "progress")), {JOB: hash_of()}, "6-0", **HTTP
    )
    assert (begun.replayed, begun.owed, begun.after, begun.marks) == ([("http", b"5-0")], [], {"http": BEFORE_5}, set())
    assert [job["state"] for job in begun.ack["jobs"]] == ["completed"]
    assert begun.member.job_states == {"http": JobEnded(b"5-0")}
    assert begun.member.held == []
    assert begun.client.read_back == [begun.client.hub_client]


def test_a_client_that_comes_late_gets_nothing_of_a_job_that_lives() -> None:
    begun = Begun(bridge_with(("4-0", "completed"), ("5-0", "waiting")), {JOB: hash_of("active")}, "5-0", **HTTP)
    assert (begun.replayed, begun.owed, begun.after, begun.marks) == ([], [], {"http": "5-0"}, set())
    assert begun.member.job_states == {"http": ALIVE}
    assert begun.member.held is None
    assert begun.client.read_back == []


def test_what_happened_while_it_was_looked_up_is_read_back() -> None:
    meanwhile = (("5-0", "progress"), ("6-0", "completed"))
    begun = Begun(bridge_with(("4-0", "active")), {JOB: hash_of("active")}, "4-0", 0, meanwhile, events=["*"], **HTTP)
    assert (begun.replayed, begun.owed) == ([("http", b"5-0"), ("http", b"6-0")], [])
    assert begun.after == {"http": BEFORE_5}


def test_a_job_that_nobody_knows_is_unknown() -> None:
    begun = Begun(bridge_with(("5-0", "progress")), {JOB: None}, "5-0", **HTTP)
    assert (begun.replayed, begun.owed, begun.marks, begun.member.job_states) == ([], [], {"unknown"}, {})
    begun = Begun(Bridge(), {JOB: None}, **HTTP)
    assert (begun.ack["jobs"], begun.after, begun.marks) == ([], {"http": "0-0"}, {"unknown"})
    assert begun.member.job_states == {}
    begun = Begun(Bridge(), {JOB: None}, "5-0", **HTTP)
    assert begun.marks == set(), "the stream was not read that far"


def test_an_outcome_that_only_the_hash_has_is_owed() -> None:
    bridge = bridge_with(("1-0", "added"), ("5-0", "progress"))
    begun = Begun(bridge, {JOB: hash_of()}, "5-0", **HTTP)
    assert (begun.replayed, begun.owed, begun.after, begun.marks) == ([], ["http"], {"http": "0-0"}, set())
    assert begun.member.job_states == {"http": ALIVE}
    begun = Begun(bridge, {JOB: hash_of()}, "5-0", after="3-0", **HTTP)
    assert (begun.owed, begun.after) == (["http"], {"http": "3-0"})
    begun = Begun(bridge, {JOB: hash_of()}, "5-0", after="3-0~5", **HTTP)
    assert (begun.owed, begun.after, begun.marks) == ([], {"http": "5-0~5"}, set()), "it has that"
    assert begun.member.job_states == {"http": JobEnded(b"5-0")}
    assert begun.member.was_delivered("http", "5")
    begun = Begun(bridge, {JOB: hash_of("failed", 6)}, "5-0", after="3-0~5", **HTTP)
    assert begun.owed == ["http"]


def test_an_outcome_that_was_not_chosen_is_not_owed() -> None:
    begun = Begun(bridge_with(("5-0", "progress")), {JOB: hash_of()}, "5-0", events=["failed"], **HTTP)
    assert (begun.owed, begun.after) == ([], {"http": "5-0"})
    assert begun.member.job_states == {"http": JobEnded(b"5-0")}
    begun = Begun(bridge_with(("5-0", "completed")), {JOB: hash_of()}, "5-0", events=["failed"], **HTTP)
    assert (begun.replayed, begun.owed, begun.after) == ([], [], {"http": "5-0"})


def test_an_event_that_is_newer_than_the_hash_says_more() -> None:
    begun = Begun(bridge_with(("4-0", "progress")), {JOB: hash_of()}, "4-0", 0, (("5-0", "waiting"),), **HTTP)
    assert (begun.owed, begun.member.job_states) == ([], {"http": ALIVE})
    begun = Begun(bridge_with(("4-0", "waiting")), {JOB: hash_of()}, "4-0", **HTTP)
    assert begun.owed == ["http"], "it is as old"


# ---- coming back ----


def test_a_client_that_comes_back_gets_what_it_chose_after_its_position() -> None:
    bridge = bridge_with(("3-0", "active"), ("4-0", "progress"), ("5-0", "progress"), ("6-0", "completed"))
    begun = Begun(bridge, {JOB: hash_of()}, "6-0", after="4-0", events=["progress"], until="end", **HTTP)
    assert begun.replayed == [("http", b"5-0"), ("http", b"6-0")]
    assert begun.after == {"http": BEFORE_5}
    assert begun.marks == set()
    begun = Begun(bridge, {JOB: hash_of()}, "6-0", after="6-0", events=["*"], **HTTP)
    assert (begun.replayed, begun.owed, begun.after, begun.marks) == ([], [], {"http": "6-0"}, set())
    begun = Begun(bridge, {JOB: hash_of()}, "6-0", after="6-0", until="end", **HTTP)
    assert begun.marks == {"unknown"}, "it will be told nothing more"


def test_a_job_that_vanished_while_the_client_knew_it_to_live_is_owed() -> None:
    bridge = bridge_with(("1-0", "added"), ("4-0", "active"), ("5-0", "progress"))
    for after, owed in (("3-0", ["http"]), ("4-0", []), ("5-0", [])):
        begun = Begun(bridge, {JOB: None}, "5-0", after=after, **HTTP)
        assert begun.owed == owed
        assert begun.member.job_states == ({"http": ALIVE} if owed else {})
    begun = Begun(bridge, {JOB: None}, "5-0", **HTTP)
    assert (begun.owed, begun.marks) == ([], {"unknown"})
    begun = Begun(bridge, {JOB: None}, "6-0", after="3-0", **HTTP)
    assert (begun.owed, begun.marks) == ([], set()), "why it vanished may be unread"
    assert begun.member.job_states == {"http": ALIVE}


def test_a_removal_that_the_stream_has_is_no_silent_one() -> None:
    bridge = bridge_with(("4-0", "active"), ("5-0", "removed"))
    begun = Begun(bridge, {JOB: None}, "5-0", after="3-0", events=["progress"], **HTTP)
    assert (begun.replayed, begun.owed, begun.after) == ([], [], {"http": "5-0"})
    begun = Begun(bridge, {JOB: None}, "5-0", after="3-0", **HTTP)
    assert begun.replayed == [("http", b"5-0")]
    begun = Begun(bridge, {JOB: None}, "5-0", **HTTP)
    assert (begun.replayed, begun.owed, begun.marks) == ([], [], {"unknown"})


def test_an_outcome_after_a_removal_is_the_hash_s() -> None:
    begun = Begun(bridge_with(("4-0", "active"), ("5-0", "removed")), {JOB: hash_of()}, "5-0", **HTTP)
    assert (begun.replayed, begun.owed) == ([], ["http"])


def test_a_position_in_a_queue_that_had_the_job_stays_when_the_job_is_gone() -> None:
    """Otherwise the client would take an older position from a `pong`, and get events again."""
    bridge = bridge_with(("3-0", "progress"), ("4-0", "removed"))
    bridge.read_to("5-0")
    assert Begun(bridge, {JOB: None}, "5-0", after={"http": "4-0"}).after == {"http": "5-0"}
    assert Begun(bridge, {JOB: None}, "5-0").after == {}


def test_a_position_of_another_stream_has_a_gap_and_the_outcome_again() -> None:
    bridge = bridge_with(("5-0", "completed"))
    begun = Begun(bridge, {JOB: hash_of()}, "5-0", after="9-0", **HTTP)
    assert (begun.replayed, begun.owed, begun.after, begun.marks) == (
        [("http", b"5-0")],
        [],
        {"http": BEFORE_5},
        {"gap"},
    )
    begun = Begun(bridge, {JOB: hash_of()}, "5-0", after="9-0~5", **HTTP)
    assert (begun.replayed, begun.after, begun.marks) == ([], {"http": "5-0~5"}, {"gap"}), "it has that"
    bridge = bridge_with(("5-0", "progress"))
    begun = Begun(bridge, {JOB: hash_of()}, "5-0", after="9-0", **HTTP)
    assert (begun.owed, begun.after) == (["http"], {"http": "0-0"})


def test_what_was_trimmed_after_a_position_is_a_gap() -> None:
    bridge = bridge_with(("3-0", "progress"), ("5-0", "completed"))
    bridge.fanout.forget_before("http", "5-0")
    marks = [Begun(bridge, {JOB: hash_of()}, "5-0", after=after, **HTTP).marks for after in ("2-0", "3-0")]
    assert marks == [{"gap"}, set()]
    bridge.fanout.without_events.add("http")
    assert Begun(bridge, {JOB: hash_of()}, "5-0", after="2-0", **HTTP).marks == set(), "there are none to be missed"


def test_a_queue_of_which_something_was_forgotten_since_has_a_gap_and_its_jobs_looked_up_again() -> None:
    told: list[str] = []
    bridge = bridge_with(("1-0", "added"), ("4-0", "completed"), on_gap=told.append)
    for stale in (False, True):
        client = Client(bridge)
        join = client.begin({"jobId": "1", "queue": "http", "after": "4-0~5"})

        def trim() -> None:
            bridge.publish("5-0", event("progress", "2"))
            bridge.publish("6-0", event("progress", "2"))
            bridge.fanout.forget_before("http", "6-0")

        client.complete(join, {JOB: hash_of()}, "4-0", meanwhile=trim if stale else lambda: None)
        (ack,) = client.frames()
        assert ack["data"].get("gap", False) is stale
        assert client.member().job_states == {"http": JobEnded(b"0-0" if stale else b"4-0")}
        assert (told, bridge.fanout.without_position) == ((["http"], {"http"}) if stale else ([], set()))


# ---- without a queue ----


def test_a_job_without_a_queue_is_told_of_by_those_that_have_it() -> None:
    bridge = bridge_with(("1-0", "added"), ("5-0", "completed"))
    bridge.publish("1-0", event("added"), "analyzer")
    bridge.publish("7-0", event("progress"), "analyzer")
    bridge.publish("8-0", event("completed", "2"), "analyzer")
    begun = Begun(bridge, {JOB: hash_of(), ("analyzer", "1"): None}, "8-0")
    assert begun.replayed == [("http", b"5-0")]
    assert begun.after == {"http": BEFORE_5}
    assert [job["queue"] for job in begun.ack["jobs"]] == ["http"]
    assert begun.marks == {"ambiguous"}, "the other one had it"
    assert begun.member.job_states == {"http": JobEnded(b"5-0")}
    begun = Begun(bridge, {}, "8-0", after={"http": "1-0", "analyzer": "2-0"}, events=["*"])
    assert begun.replayed == [("analyzer", b"7-0"), ("http", b"5-0")]
    assert begun.after == {"http": BEFORE_5, "analyzer": "6-18446744073709551615"}
    assert begun.marks == set()


def test_a_job_that_came_to_a_queue_since_has_a_position_there() -> None:
    begun = Begun(Bridge(), {JOB: None}, "0-0", 0, (("5-0", "added"),), events=["completed"])
    assert (begun.replayed, begun.after, begun.marks) == ([], {"http": "5-0"}, set())
    assert begun.member.job_states == {"http": ALIVE}


def test_the_last_of_several_replays_has_the_subscription_live() -> None:
    bridge = bridge_with(("5-0", "completed"))
    bridge.publish("7-0", event("failed"), "analyzer")
    client = Client(bridge)
    found = {(queue, "1"): hash_of(queue=queue) for queue in QUEUES}
    client.subscribe({"jobId": "1"}, found, "7-0")
    assert client.hub_client.backlog is not None
    events, _ = client.hub_client.backlog.take(9)
    assert [(of.queue, of.is_last) for of, _ in events] == [("analyzer", False), ("http", True)]


def both(bridge: Bridge, **data: Any) -> Begun:
    """Return snapshots of the job in both queues."""
    found = {("http", "1"): hash_of(), ("analyzer", "1"): hash_of("active", queue="analyzer")}
    return Begun(bridge, found, "0-0", LATEST, **data)


@pytest.mark.parametrize(("stream_id", "told"), [(OLD, False), (NEW, True)])
def test_of_several_queues_an_outcome_of_more_than_a_minute_ago_is_not_told(stream_id: str, told: bool) -> None:
    begun = both(bridge_with((stream_id, "completed")))
    assert "ambiguous" in begun.marks
    assert begun.replayed == ([("http", stream_id.encode())] if told else [])
    assert begun.owed == []
    assert begun.after.keys() == set(QUEUES)
    assert begun.after["http"].endswith("~5") is not told
    assert begun.member.was_delivered("http", "5") is not told
    assert both(bridge_with((stream_id, "completed")), queue="http").replayed == [("http", stream_id.encode())]
    assert both(bridge_with((stream_id, "completed")), after={}).marks == set()


def test_an_old_outcome_of_a_job_that_is_gone_has_a_position_after_it() -> None:
    bridge = bridge_with((OLD, "completed"))
    found = {("http", "1"): None, ("analyzer", "1"): hash_of("active", queue="analyzer")}
    begun = Begun(bridge, found, "0-0", LATEST)
    assert (begun.replayed, begun.owed) == ([], [])
    assert begun.after == {"http": OLD, "analyzer": "0-0"}


@pytest.mark.parametrize(("stream_id", "told"), [(OLD, False), (NEW, True)])
def test_an_outcome_that_only_a_hash_has_is_as_old_as_the_stream_reaches(stream_id: str, told: bool) -> None:
    begun = both(bridge_with((stream_id, "progress")))
    assert begun.owed == (["http"] if told else [])
    assert begun.after["http"] == ("0-0" if told else f"{stream_id}~5")
    assert both(Bridge()).owed == ["http"], "an empty stream reaches nowhere"


@pytest.mark.parametrize(("ago", "told"), [(1, False), (0, True)])
def test_without_events_the_hash_says_how_old_it_is(ago: int, told: bool) -> None:
    bridge = Bridge()
    bridge.fanout.without_events.add("http")
    finished = LATEST - AMBIGUOUS_MILLISECONDS - ago
    found = {JOB: hash_of(finished_on=finished), ("analyzer", "1"): hash_of("active", queue="analyzer")}
    begun = Begun(bridge, found, "0-0", LATEST)
    assert begun.owed == (["http"] if told else [])
    assert begun.after["http"] == ("0-0" if told else f"0-0~{finished}")


def test_positions_of_a_faster_bridge_are_kept_and_those_of_the_others_go_on() -> None:
    bridge = bridge_with(("5-0", "active"))
    bridge.publish("5-0", event("active"), "analyzer")
    found = {(queue, "1"): hash_of("active", queue=queue) for queue in QUEUES}
    begun = Begun(bridge, found, "8-0", after={"http": "7-0", "analyzer": "4-0"})
    assert begun.member.ahead == {"http": b"7-0"}
    assert begun.after == {"http": "7-0", "analyzer": "5-0"}
    begun = Begun(bridge, {}, "8-0", after={"http": "7-0"}, **HTTP)
    assert (begun.member.ahead, begun.after) == ({"http": b"7-0"}, {"http": "7-0"})
    begun = Begun(bridge, {}, "8-0", after={"http": "5-0"}, **HTTP)
    assert begun.member.ahead is None


# ---- queues ----


def test_a_queue_that_is_not_there_is_sent_from_its_first_entry_on() -> None:
    bridge = Bridge()
    bridge.queues["new"] = None
    acks = {}
    for name, data in (
        ("subscribe-job", {"jobId": "1", "queue": "new"}),
        ("subscribe-job", {"jobId": "1", "queue": "new", "after": "0-0"}),
        ("subscribe-job", {"jobId": "1", "queue": "new", "after": "1-0"}),
        ("subscribe-queue", "new"),
    ):
        bridge.queues["new"] = None
        client = Client(bridge)
        join = client.begin(data, name)
        del bridge.queues["new"]
        client.complete(join)
        (frame,) = client.frames()
        acks[str(data)] = {key: value for key, value in frame["data"].items() if key != "request"}
    job = {"jobs": [], "unknown": True, "unknownQueue": True, "after": {"new": "0-0"}}
    assert list(acks.values()) == [job, job, {**job, "gap": True}, {"unknownQueue": True, "after": {"new": "0-0"}}]


def test_a_whole_queue_begins_with_what_happens_now() -> None:
    bridge = bridge_with(("5-0", "completed"))
    client = Client(bridge)
    client.complete(client.begin("http", "subscribe-queue"), {}, "5-0")
    assert client.frames()[0]["data"] == {"request": "subscribe-queue", "after": {"http": "5-0"}}
    assert client.hub_client.backlog is None
    bridge.fanout.without_events.add("http")
    client.complete(client.begin("http", "subscribe-queue"), {}, "5-0")
    assert client.frames()[0]["data"]["after"] == {"http": "0-0"}


# ---- what a stream that is begun again is read from ----


@pytest.mark.parametrize(
    ("generated", "oldest", "start", "floor"),
    [
        ("9-0", "0-0", "3-0", "3-0"),
        ("9-0", "7-0", "3-0", "7-0"),
        ("3-1", "0-0", "3-0", "3-0"),
        ("3-0", "0-0", "0-0", "0-0"),
        ("2-0", "1-0", "0-0", "1-0"),
    ],
)
def test_a_stream_is_read_again_from_what_is_remembered(generated: str, oldest: str, start: str, floor: str) -> None:
    bridge = bridge_with(("3-0", "active"), ("5-0", "progress"))
    bridge.fanout.forget_before("http", "5-0")
    assert begin_again(bridge.fanout, "http", "recreated", generated, oldest) == (start, floor)
    assert bridge.fanout.cursors["http"] == start
    assert bridge.fanout.counts["gaps"] == 1


def test_a_position_up_to_where_a_hole_was_found_may_lack_something() -> None:
    bridge = bridge_with(("3-0", "active"), ("5-0", "progress"))
    fanout = bridge.fanout
    begin_again(fanout, "http", "trimmed", "9-0", "0-0")
    fanout.end_reread("http", "0-0")
    assert [fanout.may_miss("http", after) for after in ("4-0", "5-0", "5-1")] == [True, True, False]
    fanout.cursors["http"] = "4-0"
    begin_again(fanout, "http", "trimmed", "9-0", "0-0")
    fanout.end_reread("http", "0-0")
    assert fanout.may_miss("http", "5-0")
    assert not fanout.is_foreign("http", "5-0", "9-0")


def test_positions_between_the_streams_that_there_were_are_foreign() -> None:
    bridge = bridge_with(("3-0", "active"), ("5-0", "progress"))
    fanout = bridge.fanout
    begin_again(fanout, "http", "ahead", "2-0", "0-0")
    fanout.end_reread("http", "0-0")
    fanout.cursors["http"] = "9-0"
    ids = ("2-0", "2-1", "5-0", "5-1", "9-0", "9-1")
    assert [fanout.is_foreign("http", after, "0-0") for after in ids] == [False, True, True, False, False, True]
    assert [fanout.is_foreign("http", after, "8-0") for after in ids] == [False, True, True, False, True, True]
    begin_again(fanout, "http", "ahead", "1-0", "0-0")
    fanout.end_reread("http", "0-0")
    fanout.cursors["http"] = "9-0"
    assert [fanout.is_foreign("http", after, "0-0") for after in ("1-0", "1-1", "9-0")] == [False, True, True]
