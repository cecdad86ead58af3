"""A client of `/logs` has at most one subscription that was answered, and one that was not."""

from __future__ import annotations

from typing import Any

import pytest

from jobws.hub.log.broadcaster import MAX_FLUSHES, LogHub
from jobws.hub.log.line import Line
from jobws.hub.log.subscription import LINES_PER_ITEM, MAX_LINES
from jobws.privacy.rules import NO_RULES
from jobws.protocol.codec import encode
from jobws.protocol.log.answers import LogPong, LogPongData
from jobws.protocol.log.requests import LogSession
from jobws.protocol.messages import ItemError
from jobws.redis.log_stream import LogCursor, LogPage, Missing, State
from tests.hub.log.connection import Connection
from tests.support.fanout import ignore
from tests.support.sight import EVERYTHING

UNAVAILABLE = ItemError("unavailable", "later")


class Client(Connection):
    """A client of a hub. Without an argument, the hub is a new one."""

    def __init__(self, hub: LogHub | None = None, outbox_bytes: int = 1 << 20) -> None:
        self.woken = 0
        new = LogHub(NO_RULES, lambda: 0.0, ignore, ignore) if hub is None else hub
        super().__init__(new, LogSession(1 << 18, EVERYTHING), outbox_bytes, self._wake)

    def _wake(self) -> None:
        self.woken += 1


def page(*messages: str, before: int = 0) -> LogPage:
    """Return a page with lines that were written after so many others."""
    entries = [(b"%d-0" % (before + n), [b"message", text.encode()]) for n, text in enumerate(messages, 1)]
    last = before + len(messages)
    return LogPage(State(last, "1-0", f"{last}-0", last), entries, full=False)


def refusals(frames: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    return [(frame["event"], frame["ref"], frame["data"].get("code")) for frame in frames]


def test_a_subscription_that_is_replaced_before_its_answer_is_refused_first() -> None:
    client, left = Client(), []
    first = client.begin(1)
    first.on_end = lambda: left.append(first)
    second = client.begin(2)
    assert (left, first.ended) == ([first], True)
    client.hub_client.complete(first, LogCursor("1-0", 1), "1-0", gap=False)
    client.woken = 0
    client.hub_client.complete(second, LogCursor("2-0", 2), "3-0", gap=True)
    assert client.woken
    refused, ack = client.frames()
    assert refusals([refused]) == [("error", 1, "unsubscribed")]
    assert (ack["ref"], ack["data"]) == (2, {"request": "subscribe-logs", "after": "2-0", "gap": True})
    assert (second.cursor is not None and second.cursor.id, second.end) == ("2-0", "3-0")


def test_a_client_that_leaves_before_the_answer_gets_that_first() -> None:
    client = Client()
    client.begin(1)
    client.ask("unsubscribe-logs", None, 2)
    assert refusals(client.frames()) == [("error", 1, "unsubscribed"), ("ack", 2, None)]
    client.ask("unsubscribe-logs", None, 3)
    (ack,) = client.frames()
    assert ack["data"] == {"request": "unsubscribe-logs", "left": False}


def test_a_subscription_that_is_refused_leaves_the_one_before() -> None:
    client = Client()
    before = client.live()
    client.woken = 0
    after = client.begin(2)
    client.hub_client.fail(after, UNAVAILABLE)
    assert client.woken
    assert refusals(client.frames()) == [("error", 2, "unavailable")]
    client.hub_client.fail(after, UNAVAILABLE)
    assert client.frames() == []
    assert (after.ended, before.ended) == (True, False)
    client.ask("ping")
    (pong,) = client.frames()
    assert pong["data"] == {"after": "0-0"}
    client.ask("unsubscribe-logs")
    (ack,) = client.frames()
    assert ack["data"]["left"]
    assert before.ended


def test_a_client_that_goes_leaves_everything() -> None:
    client, left = Client(), []
    current = client.live()
    pending = client.begin()
    pending.on_end = lambda: left.append(pending)
    client.hub_client.end_all()
    assert (left, pending.ended, current.ended) == ([pending], True, True)
    assert client.hub.cursor is None
    client.hub_client.complete(pending, LogCursor("0-0", 0), "0-0", gap=False)
    assert client.frames() == []
    assert client.hub_client.outbox.below_low_water


def test_a_ping_without_a_subscription_has_no_position() -> None:
    client = Client()
    client.ask("ping", None, 7)
    (pong,) = client.frames()
    assert (pong["event"], pong["ref"], pong["data"]) == ("pong", 7, {"after": None})


@pytest.mark.parametrize(
    ("data", "size"),
    [
        ({}, 0),
        ({"tail": 5 * LINES_PER_ITEM}, 5),
        ({"tail": 10 * MAX_LINES}, MAX_LINES // LINES_PER_ITEM),
        ({"after": "1-0"}, MAX_LINES // LINES_PER_ITEM),
    ],
)
def test_lines_that_are_read_back_count_as_items(data: dict[str, Any], size: int) -> None:
    assert Client().begin(**data).size == size


# ---- lines as they happen ----


def test_a_text_that_is_found_in_time_is_looked_for_once() -> None:
    line = Line((b"1-0", [b"message", b"ABC"]), NO_RULES)
    asked: list[bool] = []

    def late() -> bool:
        asked.append(True)
        return len(asked) == 2

    assert not line.seek(["a", "b", "c"], late)
    assert len(asked) == 2
    assert line.seek(["a", "b", "c"], late)
    assert len(asked) == 3
    assert [line.holds(text) for text in ("abc", "x")] == [True, False]


def test_texts_of_a_client_that_left_are_looked_for_no_more() -> None:
    client, other = Client(), Client()
    other = Client(client.hub)
    client.live(text="A")
    other.live(text="a")
    assert client.hub._texts == {"a": 2}
    client.hub_client.end_all()
    assert client.hub._texts == {"a": 1}
    other.hub_client.end_all()
    assert client.hub._texts == {}


def test_reading_begins_with_the_first_and_ends_with_the_last() -> None:
    wanted: list[bool] = []
    client = Client(LogHub(NO_RULES, lambda: 0.0, lambda: wanted.append(True), ignore))
    client.live()
    Client(client.hub).live()
    assert wanted == [True]
    client.hub_client.end_all()
    assert client.hub.cursor is not None


def test_each_line_is_sent_to_a_client_that_wants_it_and_wakes_that_one() -> None:
    hub = LogHub(NO_RULES, lambda: 0.0, ignore, ignore)
    every, some = Client(hub), Client(hub)
    every.live()
    some.live(text="b")
    every.woken = some.woken = 0
    assert hub.cursor is not None
    assert hub.publish(hub.cursor, page("a", "c"), 0) == 2
    assert not hub.flush()
    assert (every.woken, some.woken) == (1, 0)
    assert hub.publish(hub.cursor, page("b", before=2), 0) == 1
    hub.flush()
    assert [[frame["id"] for frame in client.frames()] for client in (every, some)] == [["1-0", "2-0", "3-0"], ["3-0"]]
    assert hub.counts == {"sent": 4}
    assert hub.publish(LogCursor("0-0", 0), page("a"), 0) == 1, "nobody reads there any more"
    assert every.frames() == []


def test_how_many_lines_there_were_is_known_once_all_were_read() -> None:
    client = Client()
    client.live()
    cursor = client.hub.cursor
    assert cursor is not None
    cursor.id, cursor.count = "1-0", None
    counts: list[int | None] = []
    for last in (9, 3):
        state = State(last, "1-0", f"{last}-0", last)
        client.hub.publish(cursor, LogPage(state, page("b", before=1 + len(counts)).entries, full=False), 0)
        counts.append(cursor.count)
    assert counts == [None, 3]
    client.ask("ping")
    assert client.frames()[-1]["data"] == {"after": "3-0"}


def test_so_many_are_woken_in_one_step() -> None:
    hub = LogHub(NO_RULES, lambda: 0.0, ignore, ignore)
    clients = [Client(hub) for _ in range(MAX_FLUSHES + 1)]
    for client in clients:
        client.live()
        client.woken = 0
    assert hub.cursor is not None
    hub.publish(hub.cursor, page("a"), 0)
    assert hub.flush()
    assert sum(client.woken for client in clients) == MAX_FLUSHES
    assert not hub.flush()
    assert all(client.woken == 1 for client in clients)


def test_a_client_that_does_not_take_its_lines_learns_how_many_it_lacks() -> None:
    due: list[bool] = []
    client = Client(LogHub(NO_RULES, lambda: 0.0, ignore, lambda: due.append(True)), outbox_bytes=1000)
    client.live()
    cursor = client.hub.cursor
    assert cursor is not None
    client.hub.publish(cursor, page("x" * 600), 0)
    assert not client.hub_client.outbox.below_low_water
    client.hub.publish(cursor, page("x" * 600, "y", before=1), 0)
    assert client.hub.counts == {"sent": 1, "dropped": 2}
    assert due == []
    assert [frame["id"] for frame in client.frames()] == ["1-0"]
    assert due == [True]
    client.woken = 0
    client.hub.send_dropped()
    assert client.woken
    assert [frame["data"] for frame in client.frames()] == [{"count": 2}]
    client.hub.send_dropped()
    assert client.frames() == []
    client.hub.publish(cursor, page("z", before=3), 0)
    assert [frame["id"] for frame in client.frames()] == ["4-0"]


def test_a_hole_is_reported_when_there_is_room() -> None:
    client = Client(outbox_bytes=1000)
    member = client.live()
    cursor = client.hub.cursor
    assert cursor is not None
    client.hub.publish(cursor, page("x" * 600), 0)
    member.miss(Missing(5, approximate=False))
    member.miss(Missing(0, approximate=True))
    assert [frame["event"] for frame in client.frames()] == ["log"]
    client.hub.send_dropped()
    assert [frame["data"] for frame in client.frames()] == [{"count": 5, "approximate": True}]
    member.miss(Missing(0, approximate=True))
    assert [frame["data"] for frame in client.frames()] == [{"count": 0, "approximate": True}]


def test_a_line_tells_before_it_what_is_missing_and_wakes_for_that() -> None:
    client = Client(outbox_bytes=1000)
    client.live()
    cursor = client.hub.cursor
    assert cursor is not None
    client.hub.publish(cursor, page("x" * 600, "y"), 0)
    assert client.frames()
    client.hub.publish(cursor, page("a", before=2), 0)
    assert [frame["event"] for frame in client.frames()] == ["dropped", "log"]


def test_a_client_that_learns_what_is_missing_is_woken_though_the_line_does_not_fit() -> None:
    client = Client(outbox_bytes=1000)
    member = client.live()
    cursor = client.hub.cursor
    assert cursor is not None
    client.hub.publish(cursor, page("x" * 600), 0)
    member.miss(Missing(5, approximate=False))
    assert [frame["event"] for frame in client.frames()] == ["log"]
    client.hub_client.outbox.append(encode(LogPong(LogPongData(None))))
    client.hub.flush()
    client.woken = 0
    client.hub.publish(cursor, page("x" * 900, before=1), 0)
    assert not client.hub.flush()
    assert client.woken == 1
    assert [frame["event"] for frame in client.frames()] == ["pong", "dropped"]


def test_a_client_that_left_gets_nothing_more() -> None:
    client = Client(outbox_bytes=1000)
    member = client.live()
    cursor = client.hub.cursor
    assert cursor is not None
    client.hub.publish(cursor, page("x" * 600, "y"), 0)
    client.ask("unsubscribe-logs")
    assert [frame["event"] for frame in client.frames()] == ["log", "dropped", "ack"]
    client.hub.send_dropped()
    member.miss(Missing(1, approximate=False))
    assert client.frames() == []


# ---- lines that are read back ----


def test_lines_are_read_back_as_far_as_was_there_and_those_of_the_filter() -> None:
    client = Client()
    member = client.begin(tail=9, text="b")
    client.hub_client.complete(member, LogCursor("0-0", 0), "2-0", gap=False)
    client.frames()
    client.woken = 0
    assert member.read_back(page("c", "b1", "b2", "c"), 0, lambda: 0.0) == 4
    assert client.woken == 1
    assert [(frame["id"], frame.get("replayed", False)) for frame in client.frames()] == [("2-0", True), ("3-0", False)]
    assert client.hub.counts == {"replayed": 2}
    assert member.reached == "4-0"


def test_reading_back_stops_when_a_call_took_its_share_of_time() -> None:
    client = Client()
    member = client.begin(tail=9)
    client.hub_client.complete(member, LogCursor("0-0", 0), "9-0", gap=False)
    now = iter(range(100))
    assert member.read_back(page("a", "b", "c"), 0, lambda: float(next(now))) == 1
    assert member.read_back(page("a", "b", "c"), 1, lambda: 0.0) == 3
    assert [frame.get("id") for frame in client.frames()] == [None, "1-0", "2-0", "3-0"]
