"""A Redis for one test, with functions that write what BullMQ writes."""

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

# One object for all clients, since making it reads redis-py's version from the files of its package.
DRIVER = redis.DriverInfo()

Value = str | bytes | int | float


class Entry(NamedTuple):
    """An entry of a recorded event stream."""

    queue: str
    id: str
    fields: dict[str, str]


class Redis:
    """A Redis server, and a synchronous client of it whose replies are bytes."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.server = server
        # redis-py's default of 5 s is too short for commands that block, and on a busy machine for others.
        self.client = redis.Redis.from_url(server.url, driver_info=DRIVER, socket_timeout=2 * EVENTUALLY_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    @property
    def url(self) -> str:
        return self.server.url

    def make_queue(self, name: str, prefix: str = "bull") -> None:
        """Write what BullMQ writes when a program constructs a `Queue`."""
        self.client.hset(f"{prefix}:{name}:meta", "opts.maxLenEvents", "10000")

    def add_event(
        self, queue: str, event: str, job_id: str | bytes | None, *, prefix: str = "bull", **fields: Value
    ) -> str:
        """Add an event to a queue's stream, as BullMQ's scripts write it. Return its stream id."""
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
        """Add a line to the log, as programs write it. Return its stream id."""
        entry = {"level": "info", "source": "test", "message": message, **fields}
        added = self.client.xadd(key, entry)  # type: ignore[arg-type]
        assert isinstance(added, bytes)
        return added.decode()

    def add_job(self, queue: str, job_id: str, *, state: str = "wait", prefix: str = "bull", **fields: Value) -> None:
        """Write a job's hash, and its id into the list or the set of its state."""
        front = f"{prefix}:{queue}:"
        values: dict[str, Value] = {"name": "test", "data": "{}", "opts": "{}", "timestamp": 1795435729000, **fields}
        self.client.hset(front + job_id, mapping=values)  # type: ignore[arg-type]
        if state in ("wait", "active"):
            self.client.lpush(front + state, job_id)
        else:
            self.client.zadd(front + state, {job_id: 1795435730000})


def read_recording(name: str) -> list[Entry]:
    """Return the entries of a recording. Only LF ends a line, since JSON may contain U+2028."""
    text = (RECORDINGS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [Entry(**json.loads(line)) for line in text.split("\n") if line]
