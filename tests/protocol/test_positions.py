"""Stream ids are compared as two unsigned integers, however they are written."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobws.protocol.identifiers import before, is_after, lower, position

halves = st.one_of(st.integers(0, 12), st.integers(0, 2**64 - 1), st.sampled_from((1795435729358, 9999999999999)))
stream_ids = st.builds("{}-{}".format, halves, halves)


@given(stream_ids, stream_ids)
def test_the_quick_comparison_is_that_of_the_numbers(first: str, second: str) -> None:
    assert is_after(first.encode(), second.encode()) == (position(first) > position(second))
    assert lower(first, second) == (first if position(first) <= position(second) else second)


@given(stream_ids)
def test_before_is_the_next_lower_one(stream_id: str) -> None:
    previous, this = position(before(stream_id)), position(stream_id)
    assert previous == this == (0, 0) or previous == ((this[0], this[1] - 1) if this[1] else (this[0] - 1, 2**64 - 1))
