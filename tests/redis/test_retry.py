"""How long to wait before another attempt, and how much to ask for, judging by what came before."""

from __future__ import annotations

import pytest

from jobws.redis.batch_size import batch_size
from jobws.redis.retry import FIRST_SECONDS, Retry


def test_pauses_double_up_to_the_longest_and_begin_again_after_a_success() -> None:
    retry = Retry(longest_seconds=5 * FIRST_SECONDS)
    for longest in (1, 2, 4, 5, 5):
        assert longest * FIRST_SECONDS / 2 <= retry.fail() <= longest * FIRST_SECONDS
    assert retry.failures == 5
    retry.reset()
    assert retry.failures == 0
    assert retry.fail() <= FIRST_SECONDS


def test_those_who_failed_together_do_not_come_again_together() -> None:
    assert len({Retry(1.0).fail() for _ in range(20)}) > 10


@pytest.mark.parametrize(
    ("items", "received", "expected"),
    [(10, 1000, 100), (10, 0, 500), (10, 20_000, 5), (1, 10**9, 2), (100, 1000, 500), (0, 1000, 2)],
)
def test_as_much_is_asked_for_as_fits(items: int, received: int, expected: int) -> None:
    assert batch_size(items, received, wanted_bytes=10_000, most=500, least=2) == expected
