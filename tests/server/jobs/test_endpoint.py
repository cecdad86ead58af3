"""How requests that come together are divided into look-ups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from jobws.server.jobs.endpoint import SUBSCRIPTIONS_PER_LOOK_UP, divide

MOST = SUBSCRIPTIONS_PER_LOOK_UP


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([1], [[1]]),
        ([MOST], [[MOST]]),
        ([MOST - 1, 1], [[MOST - 1, 1]]),
        ([MOST, 1], [[MOST], [1]]),
        ([1, MOST, 1], [[1], [MOST], [1]]),
        # No request is divided.
        ([5 * MOST, 1, 1], [[5 * MOST], [1, 1]]),
    ],
)
def test_a_look_up_has_two_hundred_subscriptions_or_one_request(sizes: list[int], parts: list[list[int]]) -> None:
    rest: Any = [(None, SimpleNamespace(subscriptions=[None] * size)) for size in sizes]
    found = []
    while rest:
        part, rest = divide(rest)
        found.append([len(pending.subscriptions) for _, pending in part])
    assert found == parts
