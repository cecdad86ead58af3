"""The log of a client whose token is for some queues: which lines it gets, and what a new token changes."""

from __future__ import annotations

import json
from typing import Any

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
        cursor = self.hub.cursor
        if cursor is None:
            return []
        fields = [[b"message", b"x", *([] if queue is None else [b"queue", queue.encode()])] for _, queue in LINES]
        entries = [(stream_id.encode(), each) for (stream_id, _), each in zip(LINES, fields, strict=True)]
        page = LogPage(State(4, "1-0", "4-0", 4), entries, full=False)
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
