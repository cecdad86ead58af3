"""How many entries a stream had up to a cursor, whatever was trimmed of it."""

from __future__ import annotations

import pytest

from jobws.bullmq.stream import Stream, count_up_to


@pytest.mark.parametrize(
    ("stream", "cursor", "up_to_cursor", "expected"),
    [
        (Stream(), "0-0", 0, 0),
        # Nothing came after the cursor, whatever is left of the stream.
        (Stream(length=2, first="4-0", last="5-0", generated="5-0", added=9), "5-0", 2, 9),
        (Stream(length=0, generated="5-0", added=9), "5-0", 0, 9),
        # All of it is younger than the cursor, and some of it is gone.
        (Stream(length=2, first="4-0", last="5-0", generated="5-0", added=2), "3-0", 0, 0),
        (Stream(length=2, first="4-0", last="5-0", generated="5-0", added=9), "3-0", 0, 0),
        (Stream(length=0, generated="5-0", added=9), "3-0", 0, 0),
        # It reaches back beyond the cursor, so nothing after the cursor is gone.
        (Stream(length=4, first="2-0", last="5-0", generated="5-0", added=9), "3-0", 2, 7),
        (Stream(length=4, first="2-0", last="5-0", generated="5-0", added=9), "3-0", None, None),
        # Redis 6.2 does not count.
        (Stream(length=4, first="2-0", last="5-0", generated="5-0", added=None), "3-0", 2, None),
    ],
)
def test_the_count_at_a_cursor(stream: Stream, cursor: str, up_to_cursor: int | None, expected: int | None) -> None:
    assert count_up_to(stream, cursor, up_to_cursor) == expected
