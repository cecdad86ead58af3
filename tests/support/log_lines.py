"""Reads the lines of the log directly from Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.redis import Redis

NDJSON = "application/x-ndjson"


def entries(redis: Redis) -> list[dict[str, str]]:
    found: Any = redis.client.xrange("jobws:logs")
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]
