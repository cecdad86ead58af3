"""The log of a client whose token is for some queues: which lines it gets, and what a new token changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.hub.log.broadcaster import LogHub
from jobws.privacy.rules import NO_RULES
from jobws.protocol.log.requests import LogSession
from jobws.protocol.messages import AuthenticatedData
from jobws.protocol.request_types import Authenticate
from jobws.redis.log_stream import LogCursor, LogPage, Missing, State
from tests.hub.log.connection import Connection
from tests.support.fanout import ignore
from tests.support.sight import sight

FORBIDDEN = {"code": "forbidden", "message": "the token does not allow this"}
LINES: tuple[tuple[str, str | None], ...] = (("1-0", "http"), ("2-0", None), ("3-0", "b"), ("4-0", "http"))


def page_of_lines() -> LogPage:
    fields = [[b"message", b"x", *([] if queue is None else [b"queue", queue.encode()])] for _, queue in LINES]
    entries = [(stream_id.encode(), each) for (stream_id, _), each in zip(LINES, fields, strict=True)]
    return LogPage(State(4, "1-0", "4-0", 4), entries, full=False)


class Client(Connection):
    """A connection whose token has this scope, to a hub of its own."""

    def __init__(self, *scope: str, by_queue: bool = True) -> None:
        session = LogSession(1 << 18, sight(*scope), by_queue=by_queue)
        super().__init__(LogHub(NO_RULES, lambda: 0.0, ignore, ignore), session, 1 << 20, ignore)

    def renew(self, *scope: str) -> list[dict[str, Any]]:
        data = AuthenticatedData("authenticate", 7, (), 0)
        self.hub_client.renew(sight(*scope), Authenticate("x", None), data)
        *frames, ack = self.frames()
        assert ack["data"]["request"] == "authenticate"
        return frames

    def publish(self) -> list[str]:
        """Four lines are written. Return the ids of those that the client gets."""
        cursor, page = self.hub.cursor, page_of_lines()
        if cursor is None:
            return []
        cursor.id, cursor.count, index = "0-0", 0, 0
        while index < 4:
            index = self.hub.publish(cursor, page, index)
        return [frame["id"] for frame in self.frames()]


def test_which_lines_a_token_allows() -> None:
    for scope, ids in (
        ("read:logs", ["1-0", "2-0", "3-0", "4-0"]),
        ("read:logs:*", ["1-0", "3-0", "4-0"]),
        ("read:logs:http", ["1-0", "4-0"]),
    ):
        client = Client(scope)
        client.live()
        assert client.publish() == ids


def test_what_others_wrote_is_not_counted() -> None:
    for scope, data, dropped in (
        ("read:logs", {}, {"count": 9}),
        ("read:logs", {"queue": "http"}, {"count": 9, "approximate": True}),
        ("read:logs:http", {}, {"count": 0, "approximate": True}),
        ("read:logs:http", {"queue": "http"}, {"count": 0, "approximate": True}),
        ("read:logs:*", {}, {"count": 0, "approximate": True}),
    ):
        client = Client(scope)
        client.live(**data).miss(Missing(9, approximate=False))
        assert client.frames() == [{"event": "dropped", "data": dropped}]


def test_a_new_token_changes_the_lines() -> None:
    client = Client("read:logs")
    client.live()
    assert client.renew("read:logs:b") == []
    assert client.publish() == ["3-0"]
    assert client.renew("read:logs") == []
    assert client.publish() == ["1-0", "2-0", "3-0", "4-0"]


def test_a_subscription_that_is_no_longer_allowed_ends() -> None:
    client = Client("read:logs")
    client.live(queue="http")
    pending = client.begin(queue="http", source="x")
    assert client.renew("read:logs:b") == [
        {"event": "error", "data": {**FORBIDDEN, "request": "subscribe-logs"}},
        {"event": "ended", "data": FORBIDDEN},
    ]
    client.hub_client.complete(pending, LogCursor("0-0", 0), "0-0", gap=False)
    assert (client.frames(), client.publish()) == ([], [])


def test_where_labels_are_no_names_lines_cannot_be_told_apart_by_queue() -> None:
    sentence = (
        "labels of this bridge differ from the queues' names, so lines cannot be told apart by queue; this needs "
        "read:logs"
    )
    for scope, data in (("read:logs:http", {}), ("read:logs:*", {}), ("read:logs:http", {"queue": "http"})):
        client = Client(scope, by_queue=False)
        assert client.hub_client.receive(json.dumps({"event": "subscribe-logs", "data": data}), 0.0) is None
        (error,) = client.frames()
        assert error["data"] == {"code": "forbidden", "message": sentence, "request": "subscribe-logs"}
    client = Client("read:logs", by_queue=False)
    client.live(queue="http")
    assert [frame["event"] for frame in client.renew("read:logs:http")] == ["ended"]


def test_rights_that_change_end_what_they_do_not_allow_without_an_ack() -> None:
    client = Client("read:logs")
    client.live()
    narrow = sight("read:logs:http")
    client.hub_client.examine(sight())
    client.hub_client.reapply(narrow)
    assert client.frames() == []
    client.hub_client.reapply(sight())
    assert [frame["event"] for frame in client.frames()] == ["ended"]
    client.hub_client.examine(narrow)


def reached(client: Client) -> object:
    client.ask("ping")
    (pong,) = client.frames()
    return pong["data"]["after"]


def begun_at(client: Client, at: str, **data: Any) -> object:
    """Subscribe, and begin after the line `at`. Return the position in the ack."""
    subscription = client.begin(**data)
    client.hub_client.complete(subscription, LogCursor(at, 1), at, gap=False)
    (ack,) = client.frames()
    return ack["data"]["after"]


OTHERS = "1795435729358-7"
ROUNDED = "1795435720000-0"


@pytest.mark.parametrize(
    ("scope", "data", "told"),
    [
        ("read:logs", {}, OTHERS),
        ("read:logs:http", {}, ROUNDED),
        ("read:logs:*", {}, ROUNDED),
        ("read:logs:http", {"queue": "http"}, ROUNDED),
        ("read:logs:http", {"after": "5-0"}, ROUNDED),
        ("read:logs:http", {"after": "1795435725000-1"}, "1795435725000-1"),
        ("read:logs:http", {"after": "1795435729359-0"}, ROUNDED),  # of another stream
    ],
)
def test_a_position_does_not_tell_when_others_wrote(scope: str, data: dict[str, Any], told: str) -> None:
    client = Client(scope)
    assert begun_at(client, OTHERS, **data) == told
    assert reached(client) == told


def test_a_position_never_goes_back_before_a_line_that_the_client_has() -> None:
    client = Client("read:logs:http")
    client.live()
    client.publish()
    assert reached(client) == "4-0"
    assert begun_at(client, "4-1") == "4-0"
    assert begun_at(client, "3-0", tail=1) == "0-0"


def test_a_position_after_past_lines_is_that_of_the_last_one() -> None:
    client = Client("read:logs:b")
    subscription = client.begin(after="0-0")
    client.hub_client.complete(subscription, LogCursor("0-0", 0), "4-0", gap=False)
    assert subscription.read_back(page_of_lines(), 0, lambda: 0.0) == 4
    client.frames()
    assert reached(client) == "3-0"
