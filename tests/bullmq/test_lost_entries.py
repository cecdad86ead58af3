"""What jobws knows of a stream up to a cursor, whatever was trimmed."""

from __future__ import annotations

import pytest

from jobws.bullmq.lost_entries import Stream, count_up_to, floor_below, hole, is_anchored, miscounted

CURSOR = "3-0"
# Three streams: nothing was trimmed; older entries were trimmed; all entries come after the cursor, and some are gone.
WHOLE = Stream(length=4, first="2-0", last="5-0", generated="5-0", added=4)
CUT = Stream(length=4, first="2-0", last="5-0", generated="5-0", added=9)
YOUNG = Stream(length=2, first="4-0", last="5-0", generated="5-0", added=9)


@pytest.mark.parametrize(
    ("stream", "cursor", "up_to_cursor", "expected"),
    [
        (Stream(), "0-0", 0, 0),
        # No entry comes after the cursor, whatever is left of the stream.
        (Stream(length=2, first="4-0", last="5-0", generated="5-0", added=9), "5-0", 2, 9),
        (Stream(length=0, generated="5-0", added=9), "5-0", 0, 9),
        # All entries come after the cursor.
        (Stream(length=2, first="4-0", last="5-0", generated="5-0", added=2), CURSOR, 0, 0),
        (YOUNG, CURSOR, 0, 0),
        (Stream(length=0, generated="5-0", added=9), CURSOR, 0, 0),
        # The stream begins before the cursor, so nothing after the cursor is gone.
        (WHOLE, CURSOR, 2, 2),
        (CUT, CURSOR, 2, 7),
        # The stream was trimmed while it was read, so less was found. A needless gap is better than a missing one.
        (CUT, CURSOR, 1, 6),
        # Redis 6.2 does not count.
        (Stream(length=4, first="2-0", last="5-0", generated="5-0", added=None), CURSOR, 2, None),
    ],
)
def test_the_count_at_a_cursor(stream: Stream, cursor: str, up_to_cursor: int, expected: int | None) -> None:
    assert count_up_to(stream, cursor, up_to_cursor) == expected


@pytest.mark.parametrize(
    ("stream", "oldest", "expected"),
    [
        (WHOLE, "2-0", "0-0"),
        (CUT, "2-0", "1-18446744073709551615"),
        # The stream was trimmed while it was read.
        (WHOLE, "2-5", "2-4"),
        (CUT, "2-5", "2-4"),
        (WHOLE, None, CURSOR),
        # There was no entry up to the cursor.
        (YOUNG, None, "3-18446744073709551615"),
        (Stream(length=2, first="4-0", last="5-0", generated="5-0", added=2), None, "0-0"),
        (Stream(), None, "0-0"),
    ],
)
def test_what_may_be_missing_in_what_was_read_back(stream: Stream, oldest: str | None, expected: str) -> None:
    assert floor_below(stream, CURSOR, oldest) == expected


ENTRY = (b"3-0", [b"event", b"drained"])


@pytest.mark.parametrize(
    ("is_there", "was_read", "length", "max_length", "expected"),
    [
        (True, True, 20, 20, True),
        (True, True, 5000, 10_000, True),
        (False, True, 3, 10_000, False),
        # No entry was read at the cursor, since the queue is younger than the cursor.
        (False, False, 3, 10_000, True),
        (False, False, 19, 20, True),
        (False, False, 20, 20, False),
        (False, False, 999, 10_000, True),
        (False, False, 1000, 10_000, False),
        (False, False, 0, 10_000, False),
    ],
)
def test_where_redis_does_not_count_the_entry_at_the_cursor_tells(
    is_there: bool, was_read: bool, length: int, max_length: int, expected: bool
) -> None:
    at_cursor = ENTRY[1] if is_there else None
    read = ENTRY if was_read else None
    assert is_anchored(read, at_cursor, length, max_length) is expected
    stream = Stream(length, "4-0", "9-0", "9-0", None, at_cursor, max_length)
    assert hole(stream, CURSOR, None, read, 0) == (None if expected else "trimmed")
    assert hole(stream, "9-0", None, None, 0) is None, "there is nothing after the cursor"


@pytest.mark.parametrize(
    ("added", "counted", "length", "unchecked", "expected"),
    [
        (80, 80, 20, 0, None),
        (80, 80, 20, 19, None),
        # Nothing of what the last check saw is left. So the stream may be another one, of which 60 entries are missing.
        (80, 80, 20, 20, "trimmed"),
        (80, 80, 0, 20, "trimmed"),
        (20, 20, 20, 20, None),
        (81, 80, 20, 1, "trimmed"),
        (79, 80, 20, 1, "recreated"),
    ],
)
def test_a_stream_is_whole_if_its_count_is_right_and_it_is_the_one_of_the_last_check(
    added: int, counted: int, length: int, unchecked: int, expected: str | None
) -> None:
    assert miscounted(added, counted, length, unchecked) == expected
