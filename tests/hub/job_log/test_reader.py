"""Whatever happens to a list between two reads, its lines come once and in order, or a gap comes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobws.hub.job_log.reader import FIRST_LINES, MAX_BYTES, MAX_LINES, Batch, JobLogReader, ReadLines, Slice
from jobws.protocol.job_log_position import MAX_TAIL, JobLogPosition, digest, parse_logs

if TYPE_CHECKING:
    from collections.abc import Sequence


class List:
    """A list of lines, as in Redis."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = list(lines)

    def push(self, *lines: bytes) -> None:
        self.lines += lines

    def trim(self, keep: int) -> None:
        self.lines = self.lines[-keep:] if keep else []

    def answer(self, slice: Slice) -> ReadLines:
        if slice.start is None:
            return ReadLines(self.lines[-slice.limit :], len(self.lines))
        return ReadLines(self.lines[slice.start : slice.start + slice.limit])


def look(reader: JobLogReader, of: List) -> tuple[JobLogReader, list[Batch]]:
    """Read until there are no more lines."""
    batches = []
    for _ in range(100):
        result = reader.result_of(of.answer(reader.slice))
        reader = result.reader
        if result.batch is not None:
            batches.append(result.batch)
        if not result.again:
            return reader, batches
    raise AssertionError("it looks for ever")


def told(batches: Sequence[Batch]) -> list[bytes]:
    return [line for batch in batches for line in batch.lines]


appended = st.lists(st.sampled_from([b"a", b"b", b"", b"x" * 300]), max_size=40)


@given(st.lists(appended, max_size=6), st.integers(0, 10))
def test_a_list_that_only_grows_is_sent_once_whatever_the_lines_are(pushes: list[list[bytes]], before: int) -> None:
    lines = List(*[b"a"] * before)
    reader = JobLogReader()
    batches: list[Batch] = []
    for push in pushes:
        reader, some = look(reader, lines)
        batches += some
        lines.push(*push)
    reader, some = look(reader, lines)
    batches += some
    assert told(batches) == lines.lines
    assert [batch.first for batch in batches] == [
        sum(len(batch.lines) for batch in batches[:number]) for number in range(len(batches))
    ]
    assert not any(batch.gap for batch in batches)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 30)),
        st.tuples(st.just("trim"), st.integers(0, 25)),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("return"), st.just(0)),
    ),
    max_size=30,
)


@pytest.mark.long
@settings(max_examples=300)
@given(operations)
def test_a_list_that_is_trimmed_is_sent_in_order_and_what_is_missing_is_a_gap(steps: list[tuple[str, int]]) -> None:
    """All lines are different. `return` means that the client returns to another bridge with its position as text."""
    names = count()
    lines, reader = List(), JobLogReader()
    reader, _ = look(reader, lines)
    expected = 0  # the next line that must come
    trimmed = 0  # how many lines were trimmed
    told_since_empty = False
    for kind, number in [*steps, ("look", 0)]:
        if kind == "push":
            lines.push(*(b"%d" % next(names) for _ in range(number)))
        elif kind == "trim":
            trimmed += max(0, len(lines.lines) - number)
            lines.trim(number)
        elif kind == "return":
            reader = JobLogReader.after((parse_logs({"after": reader.position.encode()}, "q", "q") or {})["q"])
        else:
            reader, batches = look(reader, lines)
            for batch in batches:
                first = int(batch.lines[0])
                # A line that came and is still in the list shows the place.
                assert batch.gap == (told_since_empty and trimmed >= expected)
                assert first == max(expected, trimmed)
                assert [int(line) for line in batch.lines] == list(range(first, first + len(batch.lines)))
                expected, told_since_empty = first + len(batch.lines), True
            if lines.lines:
                assert expected == int(lines.lines[-1]) + 1
            else:
                told_since_empty = False


def test_what_is_trimmed_is_counted_on() -> None:
    lines = List(b"0", b"1", b"2")
    reader, _ = look(JobLogReader(), lines)
    lines.push(b"3", b"4")
    lines.trim(3)
    reader, batches = look(reader, lines)
    assert batches == [Batch(3, [b"3", b"4"], gap=False)]
    assert (reader.position.end, reader.position.gone) == (5, 2)


def test_the_place_that_trims_least_is_taken() -> None:
    lines = List(*[b"tick"] * 5)
    reader, _ = look(JobLogReader(), lines)
    lines.push(b"tock")
    lines.trim(5)
    reader, batches = look(reader, lines)
    assert told(batches) == [b"tock"]


def test_lines_that_equal_what_was_trimmed_are_not_taken_for_it() -> None:
    """All known lines must be at the place, not only the last one."""
    lines = List(b"a", b"b", b"c", b"x")
    reader, _ = look(JobLogReader(), lines)
    lines.push(b"x", b"d")
    lines.trim(5)  # b c x x d
    assert told(look(reader, lines)[1]) == [b"x", b"d"]


def test_a_cleared_list_begins_anew() -> None:
    lines = List(b"a", b"b")
    reader, _ = look(JobLogReader(), lines)
    lines.trim(0)
    reader, batches = look(reader, lines)
    assert not batches
    lines.push(b"b")
    assert look(reader, lines)[1] == [Batch(0, [b"b"], gap=False)]


def test_a_list_that_was_cleared_and_written_between_two_looks_is_a_gap() -> None:
    lines = List(b"a", b"b")
    reader, _ = look(JobLogReader(), lines)
    lines.trim(0)
    lines.push(b"c")
    assert look(reader, lines)[1] == [Batch(0, [b"c"], gap=True)]


def test_of_a_long_list_the_last_thousand_lines_are_sent() -> None:
    lines = List(*(b"%d" % number for number in range(5000)))
    reader, batches = look(JobLogReader(), lines)
    assert told(batches) == lines.lines[-MAX_LINES:]
    assert batches[0].first == 5000 - MAX_LINES
    assert not batches[0].gap
    lines.push(*(b"%d" % number for number in range(5000, 8000)))
    reader, batches = look(reader, lines)
    assert told(batches) == lines.lines[5000:]


def test_large_lines_are_asked_for_a_few_at_a_time_and_told_in_pieces() -> None:
    large = [b"%d" % number * 30_000 for number in range(100)]
    lines = List(*large[:50])
    reader, batches = look(JobLogReader(), lines)
    assert told(batches) == large[50 - FIRST_LINES : 50]
    assert all(sum(map(len, batch.lines)) <= MAX_BYTES for batch in batches)
    lines.push(*large[50:])
    assert reader.slice.limit <= FIRST_LINES + MAX_TAIL
    reader, batches = look(reader, lines)
    assert told(batches) == large[50:]
    assert all(sum(map(len, batch.lines)) <= MAX_BYTES for batch in batches)


def test_a_line_that_is_larger_than_everything_is_sent_alone() -> None:
    lines = List(b"a", b"x" * (MAX_BYTES + 1), b"b")
    _, batches = look(JobLogReader(), lines)
    assert [len(batch.lines) for batch in batches] == [1, 1, 1]
    assert told(batches) == lines.lines


def test_of_large_lines_one_is_read_again_and_of_small_ones_eight() -> None:
    reader, _ = look(JobLogReader(), List(*[b"x" * 20_000] * 10))
    assert len(reader.position.tail) == 1
    reader, _ = look(JobLogReader(), List(*[b"x" * 3_000] * 10))
    assert len(reader.position.tail) == 5
    reader, _ = look(JobLogReader(), List(*[b"x"] * 10))
    assert len(reader.position.tail) == MAX_TAIL


def test_a_quiet_list_costs_the_lines_that_are_known_and_no_length() -> None:
    lines = List(*(b"%d" % number for number in range(20)))
    reader, _ = look(JobLogReader(), lines)
    assert reader.slice == Slice(12, MAX_TAIL + MAX_LINES)
    assert look(reader, lines) == (reader, [])


@pytest.mark.parametrize("kept", [20, 900])
def test_a_list_that_is_trimmed_far_is_searched_as_far_as_lines_are_asked_for(kept: int) -> None:
    lines = List(*(b"%d" % number for number in range(kept)))
    reader, _ = look(JobLogReader(), lines)
    new = [b"%d" % number for number in range(kept, 2 * kept - MAX_TAIL)]
    lines.push(*new)
    lines.trim(kept)
    _, batches = look(JobLogReader.after(reader.position), lines)
    assert told(batches) == new
    assert not batches[0].gap


def test_of_large_lines_as_many_are_asked_for_as_a_search_needs() -> None:
    lines = List(*(b"%d" % number * 300_000 for number in range(12)))
    reader, _ = look(JobLogReader(), lines)
    new = [b"x" * 300_000, b"y" * 300_000]
    lines.push(*new)
    lines.trim(12)
    assert told(look(reader, lines)[1]) == new


def test_however_much_was_written_meanwhile_a_position_goes_on() -> None:
    lines = List(b"a", b"b")
    reader, _ = look(JobLogReader(), lines)
    new = [b"%d" % number for number in range(3000)]
    lines.push(*new)
    assert told(look(JobLogReader.after(reader.position), lines)[1]) == new


def test_however_much_was_written_to_an_empty_list_it_is_sent() -> None:
    lines = List()
    reader, _ = look(JobLogReader(), lines)
    new = [b"%d" % number for number in range(3000)]
    lines.push(*new)
    assert told(look(reader, lines)[1]) == new


def test_lines_do_not_move_to_the_back() -> None:
    lines = List(b"a", b"b", b"c")
    reader, _ = look(JobLogReader(), lines)
    lines.trim(0)
    lines.push(b"x", b"a", b"b", b"c", b"d")
    assert look(reader, lines)[1] == [Batch(0, lines.lines, gap=True)]


def test_a_short_list_takes_one_look() -> None:
    result = JobLogReader().result_of(ReadLines([b"a", b"b"], 2))
    assert result.batch == Batch(0, [b"a", b"b"], gap=False)
    assert not result.again


def test_what_is_known_grows_with_every_line() -> None:
    lines, reader = List(), JobLogReader()
    for number in range(2 * MAX_TAIL):
        lines.push(b"%d" % number)
        reader, _ = look(reader, lines)
        assert len(reader.position.tail) == min(number + 1, MAX_TAIL)


def test_equal_readers_are_one() -> None:
    """So one read serves all followers that have got the same lines."""
    lines = List(b"a")
    assert len({look(JobLogReader(), lines)[0] for _ in range(3)}) == 1
    first, second = (JobLogReader(JobLogPosition(1, 0, (digest(line),))) for line in (b"a", b"b"))
    assert first != second
