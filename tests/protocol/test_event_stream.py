"""Frames as server-sent events: whatever is in them, a browser reads the same event."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.bullmq.events import event_name
from jobws.errors import RequestError
from jobws.protocol.codec import Frame, encode, job_event, json_text, replayed_event
from jobws.protocol.event_stream import (
    MAX_POSITION_BYTES,
    EventStreamWriter,
    decode_position,
    encode_position,
    parts_of,
)
from jobws.protocol.messages import Ack, AckData, Gap, GapData, Pong, PongData
from tests.support.event_source import Parser, cursor_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.integers() | TEXT | st.just("\ud800"), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
)
STREAM_ID = st.builds("{}-{}".format, st.integers(0, 2**64 - 1), st.integers(0, 9))
CURSOR = st.dictionaries(TEXT, STREAM_ID, max_size=5)


def job_frame(name: str, stream_id: str | None, queue: str, value: str, *, replayed: bool) -> Frame:
    data = b'{"queue":%b,"jobId":"1","returnvalue":%b}' % (json_text(queue), value.encode())
    raw = None if stream_id is None else stream_id.encode()
    encoded = event_name(name.encode()).json
    return replayed_event(encoded, raw, data) if replayed or raw is None else job_event(encoded, raw, data)


def ack(cursor: dict[str, str]) -> Frame:
    return encode(Ack(AckData("subscribe-job", results=[], cursor=cursor)))


@given(
    TEXT.filter(bool),
    st.none() | STREAM_ID,
    TEXT,
    JSON,
    st.sampled_from([None, "\n", "\r", "\r\n", "\n\n"]),
    st.booleans(),
    st.booleans(),
)
def test_a_browser_reads_what_a_websocket_would_carry(
    name: str, stream_id: str | None, queue: str, value: Any, line_end: str | None, replayed: bool, live: bool
) -> None:
    text = json.dumps(value)
    if line_end is not None:
        text = json.dumps(value, indent=1).replace("\n", line_end) + line_end
    frame = job_frame(name, stream_id, queue, text, replayed=replayed)
    parts = parts_of(frame)
    assert (parts.event, parts.stream_id, parts.queue) == (event_name(name.encode()).text, stream_id, queue)
    writer, parser = EventStreamWriter(None), Parser()
    parser.feed(writer.block(ack({"other": "5-0"}), live=False))
    written = writer.block(frame, live=live)
    events = [event for byte in written for event in parser.feed(bytes((byte,)))]
    (event,) = events
    assert event.data == json.loads(frame.payload)["data"]
    assert event.event == re.sub(r"[\r\n]+", " ", event_name(name.encode()).text)
    moves = live and stream_id is not None
    assert event.moves is moves
    expected = {"other": "5-0"} | ({queue: stream_id} if moves and stream_id is not None else {})
    assert writer.cursor == cursor_of(event.id) == expected


@given(CURSOR)
def test_a_position_comes_back_as_it_was(cursor: dict[str, str]) -> None:
    text = encode_position(cursor)
    assert decode_position(text) == cursor
    assert text.isascii()
    assert not set(text) & set("=+/ ")


@given(st.text(max_size=30) | CURSOR.map(encode_position).map(lambda text: text[1:]))
def test_any_other_position_is_refused_or_a_cursor(text: str) -> None:
    try:
        assert isinstance(decode_position(text), dict)
    except RequestError as refusal:
        code = refusal.code
    else:
        code = "bad-after"
    assert code == "bad-after"


def test_pongs_move_the_position_of_their_queue_alone() -> None:
    writer, parser = EventStreamWriter("http"), Parser()
    pong = encode(Pong(PongData({"http": "7-0", "sparql": "9-0"})))
    assert parser.feed(writer.block(pong, live=False)) == []
    assert parser.last_id == ""
    parser.feed(writer.block(ack({"http": "1-0", "sparql": "1-0"}), live=False))
    assert cursor_of(parser.last_id) == {"http": "1-0"}
    assert parser.feed(writer.block(pong, live=True)) == []
    assert cursor_of(parser.last_id) == {"http": "7-0"}


def test_a_pong_that_lags_behind_the_events_takes_nothing_back_once_all_jobs_are_live() -> None:
    writer, parser = EventStreamWriter(None), Parser()
    writer.block(ack({"http": "1-0"}), live=False)
    writer.block(job_frame("completed", "9-0", "http", "1", replayed=False), live=False)
    pong = encode(Pong(PongData({"http": "3-0"})))
    parser.feed(writer.block(pong, live=False))
    assert cursor_of(parser.last_id) == {"http": "3-0"}
    parser.feed(writer.block(pong, live=True))
    assert cursor_of(parser.last_id) == {"http": "9-0"}
    parser.feed(writer.block(encode(Pong(PongData({}))), live=True))
    assert cursor_of(parser.last_id) == {}


def test_after_a_gap_the_queue_has_no_position_until_a_pong_knows_it() -> None:
    """The outcomes that were in the gap come later; an event behind them must not hide them from a new bridge."""
    writer, parser = EventStreamWriter(None), Parser()
    gap = encode(Gap(GapData("http", "recreated", None, {"http": "3-0"})))
    event = job_frame("completed", "4-0", "http", "1", replayed=False)
    writer.block(gap, live=False)
    assert writer.cursor is None
    writer.block(ack({"http": "1-0", "sparql": "1-0"}), live=False)
    writer.block(job_frame("completed", "9-0", "http", "1", replayed=False), live=True)
    (told,) = parser.feed(writer.block(gap, live=True))
    assert cursor_of(told.id) == {"sparql": "1-0"}
    (told,) = parser.feed(writer.block(event, live=True))
    assert not told.moves
    parser.feed(writer.block(encode(Pong(PongData({"sparql": "2-0"}))), live=True))
    assert cursor_of(parser.last_id) == {"sparql": "2-0"}
    parser.feed(writer.block(encode(Pong(PongData({"http": "5-0", "sparql": "2-0"}))), live=True))
    assert cursor_of(parser.last_id) == {"http": "5-0", "sparql": "2-0"}
    (told,) = parser.feed(writer.block(job_frame("completed", "6-0", "http", "1", replayed=False), live=True))
    assert cursor_of(told.id) == {"http": "6-0", "sparql": "2-0"}


@pytest.mark.parametrize(("queues", "told"), [(200, True), (400, False)])
def test_a_position_that_no_request_could_carry_is_left_out(queues: int, told: bool) -> None:
    written = EventStreamWriter(None).block(ack({f"q{n}": "1795435729358-0" for n in range(queues)}), live=False)
    (event,) = Parser().feed(written)
    assert event.moves is told
    assert len(event.id) <= MAX_POSITION_BYTES
