"""Flows, step by step: what is sent when, and which positions the client gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from jobws.hub.jobs.admission import no_flows
from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.jobs.replay import deliver_outcome, replay
from jobws.protocol.messages import AuthenticatedData, ItemError
from jobws.protocol.request_types import Authenticate, Room, SubscriptionKey, SubscriptionRequest
from tests.hub.one_bridge import Bridge, Client, event, hash_of
from tests.support.sight import sight

if TYPE_CHECKING:
    from jobws.hub.jobs.flow import Flow
    from tests.hub.one_bridge import Found

TOP: Final = Room("http", "1")
CHILD: Final = Room("analyzer", "2")
GRANDCHILD: Final = Room("http", "3")
ABOVE: Final = {"queue": "http", "jobId": "1"}
REQUEST: Final = {"sub": 5, "jobId": "1", "queue": "http", "children": True}


class Following:
    """A client that follows the flow of job 1, and what it gets."""

    def __init__(self, bridge: Bridge | None = None, *, limit: int = 100, **request: Any) -> None:
        self.bridge = bridge or Bridge()
        self.client = Client(self.bridge, max_subscriptions=limit)
        self.hub_client = self.client.hub_client
        self.ack = self.client.subscribe({**REQUEST, **request})

    @property
    def flow(self) -> Flow:
        return self.client.flows[0]

    def find(self, *jobs: tuple[Room, Room], found: Found | None = None) -> None:
        """Find jobs below others, and have them looked up."""
        self.client.complete(self.hub_client.follow(self.flow, jobs), found)

    def note_look(self, **reached: str) -> list[dict[str, Any]]:
        """End a look that began when the streams had been published so far."""
        self.flow.is_due = False
        self.hub_client.note_look(self.flow, reached)
        return self.client.frames()

    def is_due(self) -> bool:
        return self.flow.is_due

    def is_caught_up(self) -> bool:
        return self.flow.is_caught_up

    def has_unsent_positions(self) -> bool:
        return self.flow.has_unsent_positions

    def has_ended(self) -> bool:
        return self.flow.has_ended

    def told(self) -> list[tuple[Any, ...]]:
        """Take the frames, and return their events, ids of jobs and of those above them, and positions."""
        return [
            (frame["event"], frame["data"]["jobId"], frame.get("parent", {}).get("jobId"), frame.get("id"))
            for frame in self.client.frames()
        ]


@pytest.fixture
def following() -> Following:
    """A flow of two jobs, after its first look."""
    found = Following()
    found.find((CHILD, TOP))
    assert found.note_look(http="0-0", analyzer="0-0") == []
    return found


def test_jobs_below_say_what_is_above_and_have_no_position(following: Following) -> None:
    following.bridge.publish("5-0", event("completed", "2"), "analyzer")
    (frame,) = following.client.frames()
    assert frame == {
        **{"event": "completed", "sub": 5, "parent": ABOVE},
        "data": {"queue": "analyzer", "jobId": "2"},
    }


def test_the_outcome_of_the_job_itself_comes_after_the_next_look(following: Following) -> None:
    following.bridge.publish("6-0", event("completed"))
    assert following.is_due()
    following.bridge.publish("5-0", event("completed", "2"), "analyzer")
    assert following.told() == [("completed", "2", "1", None)]


def test_the_outcome_is_sent_when_the_look_has_ended(following: Following) -> None:
    following.bridge.publish("6-0", event("completed"))
    assert [frame["event"] for frame in following.note_look(http="6-0")] == ["completed", "pong"]


def test_until_end_is_about_the_job_itself() -> None:
    following = Following(until="end")
    following.find((CHILD, TOP))
    following.note_look()
    following.bridge.publish("5-0", event("completed", "2"), "analyzer")
    assert len(following.hub_client.keys) == 2
    following.bridge.publish("6-0", event("failed"))
    following.note_look()
    assert following.told() == []
    assert (len(following.hub_client.keys), len(following.bridge.fanout.rooms)) == (0, 0)
    assert following.flow.top.ended


def test_a_job_that_begins_to_wait_for_children_is_looked_at(following: Following) -> None:
    following.bridge.publish("5-0", event("active", "2"), "analyzer")
    assert not following.is_due()
    following.bridge.publish("6-0", event("waiting-children", "2"), "analyzer")
    assert following.is_due()


# ---- positions ----


def test_the_ack_has_no_later_position_than_the_client() -> None:
    assert Following().ack["after"] == {"http": "0-0"}
    assert Following(after={"http": "4-0", "unknown": "5-0"}).ack["after"] == {"http": "4-0", "unknown": "5-0"}


def test_acks_of_lists_have_no_common_position() -> None:
    client = Client(Bridge())
    ack = client.subscribe({"jobs": [REQUEST, {"jobId": "9", "queue": "http"}]})
    assert (ack.get("after"), [result["after"] for result in ack["results"]]) == (None, [{"http": "0-0"}] * 2)


def test_positions_reach_to_the_look(following: Following) -> None:
    bridge, client = following.bridge, following.client
    bridge.publish("5-0", event("completed", "2"), "analyzer")
    client.frames()
    assert client.ask("ping") is None
    assert client.frames()[-1]["data"]["after"] == {"http": "0-0", "analyzer": "0-0"}
    # A look that began before the event.
    assert following.note_look(analyzer="4-0") == []
    assert following.has_unsent_positions()
    (pong,) = following.note_look(http="0-0", analyzer="6-0")
    assert pong == {"event": "pong", "data": {"after": {"http": "0-0", "analyzer": "5-0"}}}
    assert not following.has_unsent_positions()
    assert following.note_look(http="0-0", analyzer="6-0") == []


def test_before_the_first_look_there_are_no_positions() -> None:
    following = Following()
    client = following.client
    client.subscribe({"jobId": "9", "queue": "analyzer"})
    client.ask("ping")
    assert client.frames()[-1]["data"]["after"] == {}


def test_progress_that_is_held_comes_before_a_pong_for_which_nobody_asked() -> None:
    following = Following(Bridge(progress_seconds=1.0), events=["progress"])
    following.find((CHILD, TOP))
    following.note_look(http="0-0", analyzer="0-0")
    for number in (5, 6):
        following.bridge.publish(f"{number}-0", event("progress", "2", data=str(number)), "analyzer")
    frames = following.note_look(http="0-0", analyzer="6-0")
    assert [frame["data"].get("data") for frame in frames[:-1]] == [5, 6]
    assert frames[-1] == {"event": "pong", "data": {"after": {"http": "0-0", "analyzer": "6-0"}}}


def test_an_event_without_a_position_is_covered_by_no_pong(following: Following) -> None:
    following.bridge.fanout.without_position.add("analyzer")
    following.flow.below[CHILD].request = SubscriptionRequest(SubscriptionKey("analyzer", "2", 5), events=None)
    following.bridge.publish("5-0", event("active", "2"), "analyzer")
    assert following.told() == [("active", "2", "1", None)]
    assert not following.has_unsent_positions()


# ---- what was missed ----


def test_what_the_job_itself_missed_comes_after_what_jobs_below_missed() -> None:
    bridge = Bridge()
    bridge.publish("5-0", event("completed"))
    bridge.publish("4-0", event("completed", "2"), "analyzer")
    following = Following(bridge, until="end")
    client = following.client
    assert client.hub_client.backlog is None
    following.find((CHILD, TOP))
    assert not following.is_caught_up()
    replay(bridge.fanout, *client.to_read_back(), (b"4-0", event("completed", "2")))
    assert following.is_caught_up()
    assert following.told() == [("completed", "2", "1", None)]
    following.note_look()
    replay(bridge.fanout, *client.to_read_back(), (b"5-0", event("completed")))
    assert following.told() == [("completed", "1", None, None)]
    assert len(client.hub_client.keys) == 0


def test_events_of_a_job_below_since_the_ack_come_although_it_is_found_later() -> None:
    bridge = Bridge()
    bridge.publish("3-0", event("waiting", "2"), "analyzer")
    following = Following(bridge, events=["*"])
    assert following.ack["jobs"] == []
    bridge.publish("4-0", event("active", "2"), "analyzer")
    bridge.publish("5-0", event("progress", "2"), "analyzer")
    query = following.client.complete(
        following.hub_client.follow(following.flow, [(CHILD, TOP)]),
        {("analyzer", "2"): hash_of("active", queue="analyzer", job_id="2")},
        "5-0",
    )
    assert query.end("analyzer") == "5-0"
    assert following.hub_client.backlog is not None
    events, _ = following.hub_client.backlog.take(9)
    assert [of.stream_ids[index] for of, index in events] == [b"4-0", b"5-0"]


def test_an_outcome_while_the_job_itself_catches_up_waits_for_a_look() -> None:
    bridge = Bridge()
    bridge.publish("5-0", event("active"))
    following = Following(bridge, after={"http": "4-0"}, events=["*"])
    following.note_look()
    bridge.publish("6-0", event("completed"))
    following.note_look()  # what it missed comes first
    assert following.told() == []
    replay(bridge.fanout, *following.client.to_read_back(), (b"5-0", event("active")))
    assert following.is_due()
    assert following.told() == [("active", "1", None, None)]
    following.note_look()
    assert following.flow.top.has_ended
    assert following.flow.top.held is None


@pytest.mark.parametrize(("room", "parent"), [(TOP, None), (CHILD, "1")])
def test_an_outcome_that_only_the_hash_has(following: Following, room: Room, parent: str | None) -> None:
    client, queue, job_id = following.client, str(room.queue), str(room.job_id)
    of = following.flow.top if room == TOP else following.flow.below[room]
    of.note_job_in(queue)
    following.hub_client.owe(of, queue)
    assert following.flow.is_caught_up == (room == TOP)
    (owed,) = client.owed()
    following.bridge.read_to("7-0", queue)
    snapshot = hash_of(queue=queue, job_id=job_id)
    deliver_outcome(following.bridge.fanout, owed, snapshot, "7-0", following.bridge.fanout.known(queue))
    assert following.is_caught_up()
    assert following.is_due() == (room == TOP)
    if room == TOP:
        assert following.told() == []
        following.flow.is_due = False
        following.hub_client.note_look(following.flow, {})
    assert following.told() == [("completed", job_id, parent, None)]


@pytest.mark.parametrize(
    ("after", "looked_at", "expected"),
    [
        (None, False, None),
        (None, True, {"analyzer": "0-0"}),
        ({"http": "4-0"}, False, {"analyzer": "0-0"}),
        ({"analyzer": "4-0"}, False, {"analyzer": "4-0"}),
        ({"analyzer": "4-0~5"}, True, {"analyzer": "0-0"}),
    ],
)
def test_from_where_a_job_below_begins(after: Any, looked_at: bool, expected: object) -> None:
    following = Following(**({} if after is None else {"after": after}))
    if looked_at:
        following.note_look()
    following.find((CHILD, TOP))
    assert following.flow.below[CHILD].request.after == expected


def test_what_follows_the_tilde_counts_for_jobs_below() -> None:
    following = Following(after={"analyzer": "4-0~5"})
    following.find((CHILD, TOP), (GRANDCHILD, CHILD))
    assert following.flow.below[CHILD].request.sent == {"analyzer": "5"}
    assert following.flow.below[GRANDCHILD].request.sent is None


def test_an_owed_outcome_of_a_usual_subscription_is_no_matter_of_a_flow() -> None:
    client = Client(Bridge())
    client.subscribe({"jobId": "1", "queue": "http"})
    client.hub_client.owe(client.member(), "http")
    client.member().clear_owed("http")
    assert not client.member().owed


# ---- ends ----


def test_with_the_job_itself_all_others_end(following: Following) -> None:
    following.client.ask("unsubscribe-job", {"sub": 5, "jobId": "1", "queue": "http"})
    (ack,) = following.client.frames()
    assert ack["data"]["left"] is True
    assert (len(following.hub_client.keys), len(following.bridge.fanout.rooms)) == (0, 0)
    following.hub_client.end_flow(following.flow, UNAVAILABLE)
    assert following.client.frames() == []


def test_a_flow_without_room_ends() -> None:
    following = Following(limit=2)
    following.find((CHILD, TOP), (GRANDCHILD, CHILD))
    (frame,) = following.client.frames()
    sentence = "the flow has more jobs than a connection may have subscriptions"
    assert frame == {
        **{"event": "ended", "sub": 5},
        "data": {"code": "too-many", "message": sentence, "queue": "http", "jobId": "1"},
    }
    assert len(following.hub_client.keys) == 0


def test_jobs_of_a_flow_are_not_evicted() -> None:
    following = Following(limit=2)
    following.find((CHILD, TOP))
    following.note_look()
    following.bridge.publish("5-0", event("completed", "2"), "analyzer")
    assert not following.has_ended()
    following.bridge.publish("5-0", event("completed"))
    following.note_look()
    assert following.has_ended()
    following.client.frames()
    assert following.client.begin({"jobId": "9"}).subscriptions == [
        ItemError("too-many-subscriptions", "a connection may have 2 subscriptions")
    ]


def test_what_the_client_subscribed_to_itself_stays(following: Following) -> None:
    following.client.subscribe({"sub": 5, "jobId": "3", "queue": "http"})
    following.find((GRANDCHILD, CHILD))
    following.bridge.publish("5-0", event("completed", "3"))
    assert following.told() == [("completed", "3", None, "5-0")]


def test_what_could_not_be_looked_up_is_not_below(following: Following) -> None:
    pending = following.hub_client.follow(following.flow, [(GRANDCHILD, CHILD)])
    assert GRANDCHILD in following.flow.below
    following.hub_client.fail(pending, UNAVAILABLE)
    assert GRANDCHILD not in following.flow.below
    following.find((GRANDCHILD, CHILD), found={("http", "3"): ItemError("unavailable", "WRONGTYPE")})
    assert GRANDCHILD not in following.flow.below
    assert following.client.frames() == []


# ---- rights ----


def renew(following: Following, *scope: str) -> list[dict[str, Any]]:
    """Replace the client's token, and return the frames that come before the ack."""
    data = AuthenticatedData("authenticate", 7, (), 0)
    following.hub_client.renew(sight(*scope), Authenticate("x", 3), data)
    return following.client.frames()[:-1]


def test_a_token_for_the_flow_allows_all_jobs_below(following: Following) -> None:
    assert renew(following, "read:jobs:http/1:children") == []
    assert list(following.flow.below) == [CHILD]
    following.find((GRANDCHILD, CHILD))
    assert list(following.flow.below) == [CHILD, GRANDCHILD]


def test_jobs_below_that_a_new_token_does_not_allow_end_without_a_word(following: Following) -> None:
    following.find((GRANDCHILD, CHILD))
    assert renew(following, "read:jobs:http") == []
    assert list(following.flow.below) == [GRANDCHILD]
    following.bridge.publish("5-0", event("completed", "2"), "analyzer")
    assert following.client.frames() == []
    following.find((CHILD, TOP))
    assert list(following.flow.below) == [GRANDCHILD]


def test_a_flow_that_a_new_token_does_not_allow_ends(following: Following) -> None:
    (frame,) = renew(following, "read:jobs:analyzer")
    assert (frame["event"], frame["sub"], frame["data"]["jobId"]) == ("ended", 5, "1")
    assert len(following.hub_client.keys) == 0


def test_jobs_below_that_are_looked_up_meanwhile_are_judged_again(following: Following) -> None:
    pending = following.hub_client.follow(following.flow, [(GRANDCHILD, CHILD)])
    assert renew(following, "read:jobs:http/1") == []
    assert pending.present == []
    following.client.complete(pending)
    assert following.client.frames() == []


def test_a_hub_without_a_server_follows_nothing(following: Following) -> None:
    no_flows(following.flow)
    assert following.client.frames() == []
