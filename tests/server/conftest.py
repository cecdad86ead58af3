"""Fixtures of tests about authorizers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.access_table import make_jobs
from tests.support.authorizer import Authorizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis


@pytest.fixture
def authorizer() -> Iterator[Authorizer]:
    with Authorizer() as made:
        yield made


@pytest.fixture
def jobs(redis: Redis) -> Redis:
    """A Redis with the queues `http` and `sparql`. `http` has the job `1`, which has completed."""
    make_jobs(redis, "1")
    return redis
