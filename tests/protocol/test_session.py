"""Whatever a client sends becomes a request, an error or the end of the connection, and never an exception."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobws.errors import RequestError
from jobws.protocol.codec import Frame, job_frame, json_text, raw_json, tail_of
from jobws.protocol.identifiers import parse_job_id, parse_stream_id
from jobws.protocol.request_types import Authenticate, Ping, Subscribe, Unsubscribe
from jobws.protocol.session import Close, Session, Standing
from tests.support.sight import EVERYTHING, sight

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda children: st.lists(children, max_size=5) | st.dictionaries(st.text(max_size=8), children, max_size=5),
    max_leaves=20,
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(
            ["subscribe-job", "unsubscribe-job", "subscribe-queue", "unsubscribe-queue", "ping", "authenticate", "x"]
        ),
        "data": json_values
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("jobId", "queue", "events", "until", "token"), json_values),
        )
        | st.fixed_dictionaries({"jobs": st.lists(json_values, max_size=5)}),
        "ref": json_values,
    },
)


def receive(message: str | bytes) -> object:
    return Session(("http",), 4096, 10, EVERYTHING).receive(message, 0.0)


@given(st.text(st.characters(codec=None)) | st.binary() | requests.map(json.dumps))
@example("[" * 100_000)
@example('{"event":"ping","ref":1e400}')
@example('{"event":"subscribe-job","data":1e400}')
@example("\ud800")
def test_any_message_has_a_result(message: str | bytes) -> None:
    result = receive(message)
    assert isinstance(result, Subscribe | Unsubscribe | Ping | Authenticate | Frame | Close)
    if isinstance(result, Frame):
        assert json.loads(result.payload)["event"] == "error"


@given(st.text(st.characters(codec=None)) | st.binary() | requests.map(json.dumps), st.sampled_from(Standing))
@example('{"event":"subscribe-job","data":"1"}', Standing.EXPIRED)
@example('{"event":"subscribe-queue","data":"http"}', Standing.EXPIRED)
@example('{"event":"unsubscribe-queue","data":"http"}', Standing.EXPIRED)
@example('{"event":"unsubscribe-job","data":"1"}', Standing.WITHOUT_TOKEN)
def test_without_a_valid_token_nothing_is_begun(message: str | bytes, standing: Standing) -> None:
    session = Session(("http",), 1 << 18, 10, EVERYTHING)
    session.standing = standing
    result = session.receive(message, 0.0)
    session.standing = Standing.VALID
    allowed = session.receive(message, 0.0)
    if standing is Standing.VALID or isinstance(allowed, Ping | Authenticate | Frame | Close):
        assert type(result) is type(allowed)
    elif standing is Standing.EXPIRED and isinstance(allowed, Unsubscribe):
        assert isinstance(result, Unsubscribe)
        assert (*result.items,) == (*allowed.items,)
    else:
        assert isinstance(result, Frame)
        code = "expired" if standing is Standing.EXPIRED else "unauthenticated"
        assert json.loads(result.payload)["data"]["code"] == code


@given(st.text(min_size=1, max_size=128))
def test_a_valid_id_is_taken_as_it_is(job_id: str) -> None:
    result = receive(json.dumps({"event": "subscribe-job", "data": job_id}))
    try:
        parse_job_id(job_id)
    except RequestError:
        assert isinstance(result, Frame)
        return
    assert isinstance(result, Subscribe)
    (item,) = result.items
    assert getattr(item, "key").job_id == job_id  # noqa: B009 - an ItemError has none, and fails


def test_an_event_that_is_no_text_is_refused_before_and_after_a_token() -> None:
    session = Session((), 100, 10, EVERYTHING)
    sentence = "expected `event` to be a string that names the request"
    for standing in Standing:
        session.standing = standing
        answer = session.receive('{"event": "\\ud800", "ref": 1}', 0.0)
        assert isinstance(answer, Frame)
        assert json.loads(answer.payload) == {
            "event": "error",
            "data": {"code": "bad-event", "message": sentence},
            "ref": 1,
        }


def test_a_message_with_more_values_than_a_valid_one_has_is_not_parsed() -> None:
    session = Session((), 1 << 20, 10, EVERYTHING)
    for junk, marks in (("[]," * 12_498 + "[]", 24_999), ('"[,{",' * 30_000 + "1", 30_003), ("0," * 24_998, 25_001)):
        answer = session.receive(f'{{"event": "ping", "junk": [{junk}]}}', 0.0)
        if marks <= 25_000:
            assert isinstance(answer, Ping)
            continue
        assert isinstance(answer, Frame)
        sentence = "a message may have 25000 lists, objects and commas outside of strings, this one has more"
        assert json.loads(answer.payload)["data"] == {"code": "too-many", "message": sentence}


def test_errors_far_apart_are_no_abuse() -> None:
    session = Session((), 100, 10, EVERYTHING)
    assert all(isinstance(session.receive("x", 0.6 * number), Frame) for number in range(100))


def test_twenty_errors_at_once_are_abuse() -> None:
    session = Session((), 100, 10, EVERYTHING)
    results = [session.receive("x", 0.5 * number) for number in range(20)]
    assert [isinstance(result, Close) for result in results] == [False] * 19 + [True]


@pytest.mark.parametrize("standing", Standing)
def test_requests_without_a_right_have_a_limit_of_their_own(standing: Standing) -> None:
    session = Session((), 100, 10, sight("read:jobs:http"))
    session.standing = standing
    asked = json.dumps({"event": "subscribe-queue", "data": "other"})
    results = [session.receive(asked, 0.1 * number) for number in range(100)]
    assert [isinstance(result, Close) for result in results] == [False] * 99 + [True]
    close = results[-1]
    assert isinstance(close, Close)
    assert (close.code, close.reason) == (4003, "100 requests without a right to them within 10 s")
    assert isinstance(session.receive("x", 9.9), Frame), "they do not count as abuse"
    assert isinstance(session.receive(asked, 99.9), Frame), "those are long ago"


def test_without_a_token_only_a_token_is_taken() -> None:
    session = Session((), 1 << 20, 10, EVERYTHING)
    session.standing = Standing.WITHOUT_TOKEN
    for data in ({"token": "x"}, {"token": "x" * 16 * 1024}):
        assert isinstance(session.receive(json.dumps({"event": "authenticate", "data": data}), 0.0), Authenticate)
    wrong: list[object] = ["x", {}, {"token": 1}]
    for value in wrong:
        answer = session.receive(json.dumps({"event": "authenticate", "data": value}), 0.0)
        assert isinstance(answer, Frame)
        sentence = "expected an object with `token`, a string"
        error = {"code": "bad-data", "message": sentence, "request": "authenticate"}
        assert json.loads(answer.payload) == {"event": "error", "data": error}
    assert isinstance(session.receive('{"event": "ping"}', 0.0), Ping)
    refused = session.receive('{"event": "subscribe-job", "data": "1"}', 0.0)
    assert isinstance(refused, Frame)
    assert json.loads(refused.payload)["data"]["code"] == "unauthenticated"
    close = session.receive("x" * (17 * 1024 + 1), 0.0)
    assert isinstance(close, Close)
    assert (close.code, close.reason) == (1009, "a message may have 17408 bytes")


@given(st.text(st.characters(codec=None)))
def test_text_becomes_json_of_the_same_value(text: str) -> None:
    encoded = json_text(text)
    assert json.loads(encoded.decode()) == text


@given(json_values)
def test_json_is_spliced_with_the_same_value(value: object) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        assert raw_json(json.dumps(value).encode()) is None
        return
    spliced = raw_json(text.encode())
    assert spliced is not None
    assert json.loads(spliced.decode()) == json.loads(text)


@given(st.binary())
def test_what_is_spliced_is_json_in_utf8(value: bytes) -> None:
    spliced = raw_json(value)
    if spliced is not None:
        json.loads(spliced.decode())


@given(st.integers(0, 70_000))
def test_a_frame_has_the_header_of_its_size(size: int) -> None:
    frame = Frame(b"x" * size)
    (wire,) = frame.wire
    assert wire[0] == 0x81
    length, start = wire[1], 2
    if length == 126:
        length, start = int.from_bytes(wire[2:4], "big"), 4
    elif length == 127:
        length, start = int.from_bytes(wire[2:10], "big"), 10
    assert (length, wire[start:]) == (size, frame.payload)
    assert start == (2 if size < 126 else 4 if size < 65536 else 10)


def test_a_job_event_is_one_json_object() -> None:
    frame = job_frame(b'"completed"', tail_of(b'{"queue":"q"}'), position=b"1-0")
    assert msgspec.json.decode(frame.payload) == {"event": "completed", "id": "1-0", "data": {"queue": "q"}}


def test_stream_ids_compare_as_two_integers() -> None:
    assert parse_stream_id("9-10") == (9, 10)
    assert parse_stream_id("10") == (10, 0)
    assert [parse_stream_id(text) for text in ("", "-", "1-", "a-1", "1-2-3", "18446744073709551616-0", "١-0")] == [
        None
    ] * 7
