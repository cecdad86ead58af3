"""Frames as server-sent events: whatever a frame contains, a browser reads the same event."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.bullmq.events import event_name
from jobws.errors import RequestError
from jobws.protocol.codec import Frame, encode, job_frame, json_text, tail_of
from jobws.protocol.messages import Ack, AckData, Gap, GapData, Pong, PongData, Result
from jobws.protocol.server_sent_events import (
    MAX_POSITION_BYTES,
    EventStreamWriter,
    close_block,
    decode_position,
    encode_position,
    frame_block,
    parts_of,
)
from tests.support.event_source import Parser, cursor_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.integers() | TEXT | st.just("\ud800"), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)
)
STREAM_ID = st.builds("{}-{}".format, st.integers(0, 2**64 - 1), st.integers(0, 9))
CURSOR = st.dictionaries(TEXT, STREAM_ID, max_size=5)


def event_frame(name: str, text: str | None, queue: str, value: str, *, sub: int = 0, replayed: bool = False) -> Frame:
    data = b'{"queue":%b,"jobId":"1","returnvalue":%b}' % (json_text(queue), value.encode())
    position = None if text is None else text.encode()
    return job_frame(event_name(name.encode()).json, tail_of(data), position=position, sub=sub, replayed=replayed)


def ack(*after: dict[str, str]) -> Frame:
    return encode(Ack(AckData("subscribe-job", results=[Result(after=each) for each in after])))


@given(
    TEXT.filter(bool),
    st.none() | STREAM_ID,
    TEXT,
    JSON,
    st.sampled_from([None, "\n", "\r", "\r\n", "\n\n"]),
    st.booleans(),
)
def test_a_browser_reads_what_a_websocket_would_carry(
    name: str, stream_id: str | None, queue: str, value: Any, line_end: str | None, replayed: bool
) -> None:
    text = json.dumps(value)
    if line_end is not None:
        text = json.dumps(value, indent=1).replace("\n", line_end) + line_end
    frame = event_frame(name, stream_id, queue, text, replayed=replayed)
    parts = parts_of(frame)
    assert (parts.event, parts.position, parts.sub, parts.queue) == (
        event_name(name.encode()).text,
        stream_id,
        0,
        queue,
    )
    writer, parser = EventStreamWriter(None), Parser()
    parser.feed(writer.block(ack({"other": "5-0"})))
    written = writer.block(frame)
    events = [event for byte in written for event in parser.feed(bytes((byte,)))]
    (event,) = events
    assert event.data == json.loads(frame.payload)["data"]
    assert event.event == re.sub(r"[\r\n]+", " ", event_name(name.encode()).text)
    expected = {"other": "5-0"} | ({} if stream_id is None else {queue: stream_id})
    assert event.moves is (expected != {"other": "5-0"})
    assert cursor_of(parser.last_id) == expected


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
    assert parser.feed(writer.block(pong)) == []
    assert parser.last_id == ""
    parser.feed(writer.block(ack({"http": "1-0"})))
    assert cursor_of(parser.last_id) == {"http": "1-0"}
    assert parser.feed(writer.block(pong)) == []
    assert cursor_of(parser.last_id) == {"http": "7-0"}


def test_a_pong_that_is_earlier_than_the_events_takes_nothing_back() -> None:
    writer, parser = EventStreamWriter(None), Parser()
    writer.block(ack({"http": "1-0"}))
    writer.block(event_frame("completed", "9-0", "http", "1"))
    for after in ({"http": "3-0"}, {}):
        parser.feed(writer.block(encode(Pong(PongData(after)))))
        assert cursor_of(parser.last_id) == {"http": "9-0"}


def test_the_position_of_one_job_keeps_what_follows_its_tilde() -> None:
    writer, parser = EventStreamWriter(None), Parser()
    parser.feed(writer.block(ack({"http": "1-0~5"})))
    assert cursor_of(parser.last_id) == {"http": "1-0~5"}
    parser.feed(writer.block(encode(Pong(PongData({"http": "3-0", "sparql": "4-0"})))))
    assert cursor_of(parser.last_id) == {"http": "3-0~5", "sparql": "4-0"}


def test_of_several_jobs_the_lowest_position_is_reported_without_what_follows_a_tilde() -> None:
    writer, parser = EventStreamWriter(None), Parser()
    parser.feed(writer.block(ack({"http": "10-0"}, {"http": "9-0~5", "sparql": "1-0"})))
    assert cursor_of(parser.last_id) == {"http": "9-0", "sparql": "1-0"}
    (received,) = parser.feed(writer.block(event_frame("progress", "12-0", "http", "1", sub=0)))
    assert not received.moves
    (received,) = parser.feed(writer.block(event_frame("progress", "11-0", "http", "1", sub=1)))
    assert cursor_of(received.id) == {"http": "11-0", "sparql": "1-0"}


@pytest.mark.parametrize(("reason", "after"), [("trimmed", "9-0"), ("recreated", "0-0"), ("ahead", "0-0")])
def test_a_gap_takes_the_position_away_if_it_is_another_stream(reason: str, after: str) -> None:
    writer, parser = EventStreamWriter(None), Parser()
    parser.feed(writer.block(ack({"http": "9-0", "sparql": "1-0"})))
    (received,) = parser.feed(writer.block(encode(Gap(data=GapData("http", reason, None)))))
    assert received.moves is (reason != "trimmed")
    assert cursor_of(parser.last_id) == {"http": after, "sparql": "1-0"}


def test_a_gap_of_one_job_leaves_the_others() -> None:
    writer, parser = EventStreamWriter(None), Parser()
    parser.feed(writer.block(ack({"http": "9-0"}, {"http": "3-0"})))
    parser.feed(writer.block(encode(Gap(sub=0, data=GapData("http", "ahead", ["1"])))))
    assert cursor_of(parser.last_id) == {"http": "0-0"}
    parser.feed(writer.block(event_frame("progress", "7-0", "http", "1", sub=0)))
    assert cursor_of(parser.last_id) == {"http": "3-0"}


@pytest.mark.parametrize(("queues", "received"), [(200, True), (400, False)])
def test_a_position_that_no_request_could_carry_is_left_out(queues: int, received: bool) -> None:
    written = EventStreamWriter(None).block(ack({f"q{n}": "1795435729358-0" for n in range(queues)}))
    (event,) = Parser().feed(written)
    assert event.moves is received
    assert len(event.id) <= MAX_POSITION_BYTES


def test_a_position_waits_for_no_subscription_that_is_over() -> None:
    received = []
    for until_end in (False, True):
        writer, parser = EventStreamWriter(None, until_end=until_end), Parser()
        parser.feed(writer.block(ack({"http": "1-0"}, {"http": "1-0"})))
        for name, stream_id, sub in (("completed", "2-0", 0), ("progress", "3-0", 1)):
            parser.feed(writer.block(event_frame(name, stream_id, "http", "1", sub=sub)))
        received.append(cursor_of(parser.last_id))
    assert received == [{"http": "2-0"}, {"http": "3-0"}]


def test_frames_and_the_close_frame_are_events_of_their_own() -> None:
    frame = event_frame("completed", "2-0", "http", "[1,\r\n2]")
    (event,) = Parser().feed(frame_block(frame))
    assert (event.event, event.data) == ("message", json.loads(frame.payload))
    (event,) = Parser().feed(close_block(1012, "a\nb"))
    assert (event.event, event.data) == ("close", {"code": 1012, "reason": "a\nb"})
