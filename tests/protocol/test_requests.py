"""Requests: what the test vectors do not cover."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.errors import RequestError
from jobws.protocol.codec import Frame
from jobws.protocol.messages import ItemError
from jobws.protocol.request_types import Subscribe, SubscriptionKey, SubscriptionRequest, Unsubscribe
from jobws.protocol.requests import parse_rooms
from jobws.protocol.session import Session
from tests.support.sight import EVERYTHING, sight


def test_rooms_are_named_one_by_one_or_in_a_list() -> None:
    assert parse_rooms("1", ("http",), 9, EVERYTHING) == (SubscriptionKey(None, "1"),)
    one, other = parse_rooms([{"jobId": "1", "queue": "http"}, {"jobId": "1", "queue": "x"}], ("http",), 9, EVERYTHING)
    assert one == SubscriptionKey("http", "1")
    assert isinstance(other, ItemError)
    assert other.code == "unknown-queue"
    (hidden,) = parse_rooms([{"jobId": "1", "queue": "x"}], ("http",), 9, sight("read:jobs:http"))
    assert hidden == ItemError("forbidden", "the token does not allow this")
    with pytest.raises(RequestError) as refused:
        parse_rooms(["1"] * 3, ("http",), 2, EVERYTHING)
    assert refused.value.code == "too-many"


def received(data: Any) -> Subscribe | Frame:
    result = Session(("http",), 1 << 16, 10, EVERYTHING).receive(
        json.dumps({"event": "subscribe-job", "data": data}), 0.0
    )
    assert isinstance(result, Subscribe | Frame)
    return result


def test_a_position_that_a_list_shares_is_taken_without_what_one_job_had() -> None:
    for after in ("1-0~5", {"http": "1-0~5"}):
        result = received({"jobs": ["1", {"jobId": "2", "after": "2-0~6"}], "queue": "http", "after": after})
        assert isinstance(result, Subscribe)
        first, second = result.items
        assert isinstance(first, SubscriptionRequest)
        assert isinstance(second, SubscriptionRequest)
        assert (first.after, first.sent) == ({"http": "1-0"}, None)
        assert (second.after, second.sent) == ({"http": "2-0"}, {"http": "6"})


def test_a_position_that_a_list_shares_and_that_is_none_is_refused_for_each_job() -> None:
    result = received({"jobs": ["1", "2"], "queue": "http", "after": 5})
    assert isinstance(result, Subscribe)
    assert [item.code for item in result.items if isinstance(item, ItemError)] == ["bad-after"] * 2


def test_to_leave_needs_no_right_and_tells_of_no_queue() -> None:
    session = Session(("http",), 1 << 16, 10, sight("read:jobs:http/1", "read:jobs:none/1"))
    for queue, job_id in (("http", "2"), ("other", "1"), ("http", "1"), ("none", "1"), (None, "2")):
        asked = {"event": "unsubscribe-job", "data": {"queue": queue, "jobId": job_id}}
        result = session.receive(json.dumps(asked), 0.0)
        if queue == "none":
            assert isinstance(result, Frame)
            assert b"unknown-queue" in result.payload
        else:
            assert result == Unsubscribe("unsubscribe-job", (SubscriptionKey(queue, job_id),), many=False, ref=None)


@pytest.mark.parametrize(
    "asked",
    [
        {"event": "subscribe-job", "data": {"queue": "http", "jobId": "2"}},
        {"event": "subscribe-job", "data": {"queue": "no such queue", "jobId": "1"}},
        {"event": "subscribe-job", "data": "2"},
        {"event": "subscribe-queue", "data": "http"},
        {"event": "subscribe-queue", "data": "no such queue"},
    ],
)
def test_without_a_right_nothing_is_said_of_the_queue(asked: dict[str, Any]) -> None:
    session = Session(("http",), 1 << 16, 10, sight("read:jobs:http/1", "read:jobs:analyzer/1"))
    result = session.receive(json.dumps(asked), 0.0)
    assert isinstance(result, Frame)
    data = {"code": "forbidden", "message": "the token does not allow this", "request": asked["event"]}
    assert json.loads(result.payload) == {"event": "error", "data": data}


def test_an_item_without_a_right_costs_the_others_nothing() -> None:
    session = Session(("http",), 1 << 16, 10, sight("read:jobs:http/1"))
    asked = {"event": "subscribe-job", "data": [{"queue": "http", "jobId": "2"}, {"queue": "http", "jobId": "1"}, "1"]}
    result = session.receive(json.dumps(asked), 0.0)
    assert isinstance(result, Subscribe)
    refused, *subscribed = result.items
    assert refused == ItemError("forbidden", "the token does not allow this")
    assert [each.key for each in subscribed if isinstance(each, SubscriptionRequest)] == [
        SubscriptionKey("http", "1"),
        SubscriptionKey(None, "1"),
    ]


def test_positions_in_queues_that_do_not_exist_for_the_client_are_not_even_read() -> None:
    session = Session(("http", "secret"), 1 << 16, 10, sight("read:jobs:http"))
    for other in ("secret", "none"):
        asked = {"jobId": "1", "after": {"http": "1-0", other: "no position"}}
        result = session.receive(json.dumps({"event": "subscribe-job", "data": asked}), 0.0)
        assert isinstance(result, Subscribe)
        (item,) = result.items
        assert isinstance(item, SubscriptionRequest)
        assert item.after == {"http": "1-0"}
