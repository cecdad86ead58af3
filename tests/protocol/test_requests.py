"""What a request names, where the vectors do not say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.errors import RequestError
from jobws.protocol.codec import Frame
from jobws.protocol.messages import ItemError
from jobws.protocol.request_types import Subscribe, SubscriptionKey, SubscriptionRequest
from jobws.protocol.requests import parse_rooms
from jobws.protocol.session import Session


def test_rooms_are_named_one_by_one_or_in_a_list() -> None:
    assert parse_rooms("1", ("http",), 9) == (SubscriptionKey(None, "1"),)
    one, other = parse_rooms([{"jobId": "1", "queue": "http"}, {"jobId": "1", "queue": "x"}], ("http",), 9)
    assert one == SubscriptionKey("http", "1")
    assert isinstance(other, ItemError)
    assert other.code == "unknown-queue"
    with pytest.raises(RequestError) as refused:
        parse_rooms(["1"] * 3, ("http",), 2)
    assert refused.value.code == "too-many"


def received(data: Any) -> Subscribe | Frame:
    result = Session(("http",), 1 << 16, 10).receive(json.dumps({"event": "subscribe-job", "data": data}), 0.0)
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
