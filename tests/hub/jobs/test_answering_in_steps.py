"""A list of jobs is received and answered in short steps. Whatever happens between two steps, the answer is right."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.pending import UNAVAILABLE
from jobws.hub.jobs.replay import find_missed_outcomes
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.identifiers import before
from jobws.protocol.session import Close
from tests.hub.one_bridge import Bridge, Client, event, hash_of
from tests.support.sight import sight
from tests.support.steps import ask_for, begin_again, do_all

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from jobws.hub.jobs.flow import Flow
    from tests.hub.one_bridge import Found

ONE: Final = ("http", "1")
JOBS: Final[list[Any]] = [{"jobId": "1", "queue": "http"}, {"jobId": "2", "queue": "http"}]
FORBIDDEN: Final = {"code": "forbidden", "message": "the token does not allow this"}


class Answering:
    """A request with a list of jobs, and the steps in which it is answered."""

    def __init__(
        self,
        bridge: Bridge,
        client: Client,
        items: object = JOBS,
        found: Found | None = None,
        end: str = "0-0",
        request: str = "subscribe-job",
    ) -> None:
        self.client = client
        self.pending = client.begin(items, request)
        self.query = ask_for(self.pending, bridge.queues, bridge.fanout)
        found = dict(found or {})
        self.query.keep_answer(LookUp(found, dict.fromkeys(found, end), dict.fromkeys(self.query.queues, end)))
        self.steps: Iterator[None] = client.hub_client.complete(self.pending, self.query, 0.0)

    def step(self, count: int = 1) -> None:
        """Take some steps. There must be as many."""
        for _ in range(count):
            next(self.steps)

    def rest(self) -> list[dict[str, Any]]:
        """Take all steps that are left, and return the frames."""
        do_all(self.steps)
        return self.client.frames()


def test_an_event_between_two_steps_comes_once_after_the_ack() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client, found={ONE: hash_of("active")})
    answering.step()
    bridge.publish("5-0", event("completed"))
    bridge.publish("6-0", event("completed", "2"))  # it has not begun
    assert client.frames() == []
    ack, *others = answering.rest()
    assert [each.get("after") for each in ack["data"]["results"]] == [{"http": "0-0"}, {"http": before(b"6-0")}]
    assert [(frame["event"], frame["id"]) for frame in others] == [("completed", "5-0")]
    assert [of.stream_ids for of, _ in client.hub_client.backlog.take(9)[0]] == [[b"6-0"]]  # type: ignore[union-attr]
    assert client.hub_client.outbox.size == 0


def test_what_is_admitted_is_sent_before_the_last_step() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client)
    answering.step(2)
    assert client.woken == 0
    answering.step()
    assert (client.woken, [frame["event"] for frame in client.frames()]) == (1, ["ack"])
    bridge.publish("5-0", event("completed"))
    bridge.publish("6-0", event("completed", "2"))
    assert client.received() == [("completed", "5-0")]
    assert client.hub_client.catching_up
    client.ask("ping")
    (pong,) = client.frames()
    assert pong["data"]["after"] == {}, "an event of job 2 is held"
    assert [(frame["event"], frame["id"]) for frame in answering.rest()] == [("completed", "6-0")]
    assert not client.hub_client.catching_up


@pytest.mark.parametrize("items", [JOBS, JOBS[:1]])
def test_the_writer_sees_the_end_of_catching_up_even_without_a_frame(items: object) -> None:
    """A writer that took the ack between two steps would otherwise wait for the next event, as a long poll did."""
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client, items)
    seen: list[tuple[bool, bool]] = []
    for _ in answering.steps:
        if client.frames():
            seen.append((client.hub_client.catching_up, client.woken > 0))
            client.woken = 0
    assert seen == [(True, True)]
    assert (client.hub_client.catching_up, client.frames(), client.woken) == (False, [], 1)


def test_the_writer_sees_that_a_request_of_a_flow_has_failed() -> None:
    bridge = Bridge()
    client = Client(bridge)
    pending = client.begin(JOBS)
    pending.flow = cast("Flow", SimpleNamespace(change=lambda: None))
    client.hub_client.fail(pending, UNAVAILABLE)
    assert (client.hub_client.catching_up, client.frames(), client.woken) == (False, [], 1)


def test_an_outcome_that_comes_meanwhile_takes_the_place_of_an_older_one_that_is_owed() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client, found={ONE: hash_of()}, end="1-0")
    answering.step()
    bridge.publish("5-0", event("completed"))
    _, outcome = answering.rest()
    assert (outcome["event"], outcome["id"]) == ("completed", "5-0")
    assert client.owed() == []


def test_what_is_held_has_no_position_while_an_outcome_is_owed() -> None:
    bridge = Bridge()
    client = Client(bridge)
    items = [{**item, "events": ["*"]} for item in JOBS]
    answering = Answering(bridge, client, items, {ONE: hash_of()}, "1-0")
    answering.step()
    bridge.publish("5-0", event("progress"))
    _, progress = answering.rest()
    assert (progress["event"], "id" in progress) == ("progress", False)
    assert len(client.owed()) == 1


def test_a_request_of_which_one_queue_is_read_again_waits_and_holds_nothing() -> None:
    bridge = Bridge()
    bridge.publish("1-0", event("active"), "analyzer")
    client = Client(bridge)
    items = [JOBS[0], {"jobId": "2", "queue": "analyzer"}]
    answering = Answering(bridge, client, items, found={ONE: hash_of("active")}, end="0-0")
    answering.step()
    _, floor = begin_again(bridge.fanout, "analyzer", "recreated", "1-0", "0-0")
    assert answering.rest() == []
    assert not answering.pending.is_begun
    bridge.publish("5-0", event("completed"))
    assert (client.hub_client.outbox.size, len(bridge.fanout.rooms)) == (0, 0)
    client.ask("unsubscribe-job", items[1])
    client.frames()
    begin_again(bridge.fanout, "http", "recreated", "5-0", "0-0")
    do_all(client.hub_client.complete(answering.pending, answering.query, 0.0))
    assert client.frames() == [], "now the first one waits"
    bridge.fanout.end_reread("analyzer", floor)
    bridge.fanout.end_reread("http", "5-0")
    client.complete(answering.pending, {ONE: hash_of()}, "5-0")
    ack, *_ = client.frames()
    assert [each.get("error", {}).get("code") for each in ack["data"]["results"]] == [None, "unsubscribed"]
    assert not answering.pending.waiting


def test_a_subscription_to_every_queue_waits_for_a_queue_that_is_found_meanwhile() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client, [{"queue": "http"}, {"queue": "*"}], request="subscribe-queue")
    answering.step()
    bridge.open("later")
    assert answering.rest() == []
    assert not answering.pending.is_begun
    client.complete(answering.pending)
    (ack,) = client.frames()
    assert ack["data"]["results"][1]["after"].keys() == {"http", "analyzer", "later"}


def test_a_subscription_that_is_left_meanwhile_is_in_no_room() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client)
    answering.step()
    client.ask("unsubscribe-job", JOBS[0])
    client.frames()
    assert len(bridge.fanout.rooms) == 0
    (ack,) = answering.rest()
    assert ack["data"]["results"][0]["error"]["code"] == "unsubscribed"
    assert len(bridge.fanout.rooms) == 1


def test_a_flow_that_is_left_before_it_begins_is_not_followed() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client, [{**item, "children": True} for item in JOBS])
    answering.step(3)
    client.ask("unsubscribe-job", JOBS[1])
    answering.rest()
    assert {flow.top.request.key.job_id for flow in client.flows} == {"1"}


def test_no_position_is_told_before_the_flow_of_a_list_is_looked_at() -> None:
    bridge = Bridge()
    client = Client(bridge)
    client.subscribe({"jobId": "9", "queue": "analyzer"})
    answering = Answering(bridge, client, [JOBS[0], {**JOBS[1], "children": True}])
    answering.step(3)
    client.frames()
    bridge.publish("5-0", event("completed", "2"), "analyzer")  # a job below, perhaps
    client.ask("ping")
    (pong,) = client.frames()
    assert pong["data"]["after"] == {}


def test_a_sweep_between_whose_steps_rights_change_tells_nothing() -> None:
    for begins in (False, True):
        bridge = Bridge()
        client = Client(bridge)
        other = Client(bridge)
        both: Found = {(queue, "1"): hash_of("active", queue=queue) for queue in ("http", "analyzer")}
        other.subscribe({"jobId": "1"}, both)
        answering = Answering(bridge, client, [{"jobId": "1"}], both)
        answering.step()
        if not begins:
            answering.rest()
        look_up = LookUp({ONE: hash_of()}, {ONE: "0-0"}, {"http": "0-0"})
        sweep = find_missed_outcomes(bridge.fanout, "http", ["1"], look_up)
        next(sweep)
        client.hub_client.reapply(sight("read:jobs:analyzer"))
        do_all(sweep)
        assert client.owed() == []
        assert other.owed() != []


def test_a_sweep_tells_nothing_to_a_subscription_that_has_not_begun() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client, [{"jobId": "1"}, JOBS[0]], {ONE: hash_of("active")})
    answering.step()
    sweep = find_missed_outcomes(bridge.fanout, "http", ["1"], LookUp({ONE: hash_of()}, {ONE: "0-0"}, {"http": "0-0"}))
    Client(bridge).subscribe({"jobId": "1"})
    next(sweep)
    begin_again(bridge.fanout, "http", "recreated", "5-0", "0-0")
    client.owed()
    answering.rest()
    assert answering.pending.waiting
    do_all(sweep)
    assert client.owed() == []


def test_a_queue_that_is_forgotten_meanwhile_is_not_doubted() -> None:
    for forgets in (False, True):
        bridge = Bridge()
        for number in range(1, 7):
            bridge.publish(f"{number}-0", event("progress", "2"))
        client = Client(bridge)
        answering = Answering(bridge, client, [{"jobId": "1"}], {}, "4-0")
        bridge.publish("7-0", event("progress", "2"))
        bridge.publish("8-0", event("progress", "2"))
        bridge.fanout.forget_before("http", "8-0")
        answering.step()
        if forgets:
            bridge.fanout.forget("http")
        answering.rest()
        assert bridge.fanout.without_position == (set() if forgets else {"http"})


def test_a_fault_in_one_subscription_closes_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client)
    answering.step(2)
    with monkeypatch.context() as patch:
        patch.setattr(bridge.fanout, "go_live", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            do_all(answering.steps)
    assert client.hub_client.closing is not None
    assert client.hub_client.closing.code == CloseCode.INTERNAL_ERROR
    assert (len(bridge.fanout.rooms), client.hub_client.catching_up) == (0, False)


def test_an_outcome_at_the_top_of_a_flow_that_comes_meanwhile_is_not_lost() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client, [{**JOBS[0], "children": True}], {ONE: hash_of("active")})
    answering.step()
    bridge.publish("5-0", event("completed"))
    assert [frame["event"] for frame in answering.rest()] == ["ack"]
    (flow,) = dict.fromkeys(client.flows)
    client.hub_client.note_look(flow, {"http": "5-0"})
    assert client.frames()[0]["event"] == "completed"


def test_rights_that_change_meanwhile_apply_to_what_has_begun() -> None:
    bridge = Bridge()
    client = Client(bridge)
    both: Found = {(queue, "1"): hash_of("active", queue=queue) for queue in ("http", "analyzer")}
    answering = Answering(bridge, client, [{"jobId": "1"}, JOBS[0], JOBS[1]], both)
    answering.step(2)
    bridge.publish("5-0", event("completed"))
    client.hub_client.reapply(sight("read:jobs:analyzer"))
    assert client.hub_client.outbox.size == 0
    ack, *others = answering.rest()
    first, *refused = ack["data"]["results"]
    assert [job["queue"] for job in first["jobs"]] == ["analyzer"]
    assert refused == [{"error": FORBIDDEN}] * 2
    assert others == []
    bridge.publish("6-0", event("completed"))
    bridge.publish("7-0", event("completed"), "analyzer")
    assert client.received() == [("completed", "7-0")]


def test_a_request_that_fails_meanwhile_leaves_nothing() -> None:
    bridge = Bridge()
    client = Client(bridge)
    answering = Answering(bridge, client)
    answering.step()
    bridge.publish("5-0", event("completed"))
    client.hub_client.fail(answering.pending, UNAVAILABLE)
    assert [frame["event"] for frame in answering.rest()] == ["error"]
    assert (len(bridge.fanout.rooms), client.hub_client.outbox.size, list(client.hub_client.keys)) == (0, 0, [])


# ---- receiving ----


def receiving(client: Client, items: list[Any], request: str = "subscribe-job") -> Generator[None, None, Any]:
    return client.hub_client.receive_in_steps(json.dumps({"event": request, "data": items}), 0.0)


def test_a_client_that_is_closed_between_two_steps_enters_nothing_more() -> None:
    bridge = Bridge()
    for request in ("subscribe-job", "unsubscribe-job"):
        client = Client(bridge)
        client.subscribe(JOBS)
        steps = receiving(client, JOBS, request)
        next(steps)
        client.hub_client.close(Close(CloseCode.SERVICE_RESTART, "the bridge restarts"))
        do_all(steps)
        assert (list(client.hub_client.keys), len(bridge.fanout.rooms), client.frames()) == ([], 0, [])


def test_rights_that_change_between_two_steps_apply_to_all_items() -> None:
    bridge = Bridge()
    client = Client(bridge)
    steps = receiving(client, [*JOBS, {"jobId": "1", "queue": "analyzer"}])
    next(steps)
    client.hub_client.reapply(sight("read:jobs:analyzer"))
    do_all(steps)
    assert [(key.queue, key.job_id) for key in client.hub_client.keys] == [("analyzer", "1")]
