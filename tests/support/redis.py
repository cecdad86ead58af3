"""A Redis for one test, and what BullMQ would have written into it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import redis

from tests.support import EVENTUALLY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.embedded import EmbeddedRedis

RECORDINGS = Path(__file__).parent.parent / "recordings"

# Made for each client, it would read its version from the package's files.
DRIVER = redis.DriverInfo()

Value = str | bytes | int | float


class Entry(NamedTuple):
    """An entry of a recording."""

    queue: str
    id: str
    fields: dict[str, str]


class Redis:
    """A server, and a synchronous client of it that speaks bytes."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.server = server
        # Its own 5 s are too short for a command that blocks, and on a busy machine for others.
        self.client = redis.Redis.from_url(server.url, driver_info=DRIVER, socket_timeout=2 * EVENTUALLY_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def url(self) -> str:
        return self.server.url

    def make_queue(self, name: str, prefix: str = "bull") -> None:
        """What constructing a BullMQ queue leaves."""
        self.client.hset(f"{prefix}:{name}:meta", "opts.maxLenEvents", "10000")

    def add_event(
        self, queue: str, event: str, job_id: str | bytes | None, *, prefix: str = "bull", **fields: Value
    ) -> str:
        """An entry as BullMQ's scripts write it; the id it got."""
        entry: dict[bytes, Value] = {b"event": event}
        if job_id is not None:
            entry[b"jobId"] = job_id
        entry.update({name.encode(): value for name, value in fields.items()})
        return self.add_entry(queue, entry, prefix=prefix)

    def add_entry(
        self, queue: str, fields: Mapping[bytes, Value], *, prefix: str = "bull", stream_id: str = "*"
    ) -> str:
        added = self.client.xadd(f"{prefix}:{queue}:events", dict(fields), id=stream_id)  # type: ignore[arg-type]
        assert isinstance(added, bytes)
        return added.decode()

    def add_log(self, message: str | bytes, *, key: str = "jobws:logs", **fields: Value) -> str:
        """A line of the log as programs write it; the id it got."""
        entry = {"level": "info", "source": "test", "message": message, **fields}
        added = self.client.xadd(key, entry)  # type: ignore[arg-type]
        assert isinstance(added, bytes)
        return added.decode()

    def add_job(self, queue: str, job_id: str, *, state: str = "wait", prefix: str = "bull", **fields: Value) -> None:
        """A job's hash, and its place in the list or set of its state."""
        front = f"{prefix}:{queue}:"
        values: dict[str, Value] = {"name": "test", "data": "{}", "opts": "{}", "timestamp": 1795435729000, **fields}
        self.client.hset(front + job_id, mapping=values)  # type: ignore[arg-type]
        if state in ("wait", "active"):
            self.client.lpush(front + state, job_id)
        else:
            self.client.zadd(front + state, {job_id: 1795435730000})


def read_recording(name: str) -> list[Entry]:
    """The entries of a recording. Lines end at LF alone: JSON text may hold U+2028."""
    text = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [Entry(**json.loads(line)) for line in text.split("\n") if line]
