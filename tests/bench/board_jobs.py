"""Programs of BullMQ for Node that give a page something to show: jobs one after the other, and a busy queue."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Final

from tests.bench.servers import BOARD

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

# Of how this bench reads the numbers, not of what it measures.
_OWN: Final = frozenset({"cmdstat_info", "cmdstat_config|resetstat", "cmdstat_flushall"})
_LOOK_SECONDS: Final = 0.2


def add(redis_port: int, count: int, seconds: float, wait: Callable[[float], None] = time.sleep) -> dict[str, int]:
    """Add jobs to the queue `http`, one every `seconds` on average, and return when all are added.

    Args:
        redis_port: The port of Redis.
        count: The number of jobs.
        seconds: The time from one job to the next, on average. It varies by a half.
        wait: Called with a time in seconds until the last job is added.

    Returns:
        When each job was added, in milliseconds since 1970, by its name.
    """
    command = ["node", str(BOARD / "adds.mjs"), str(count), str(seconds * 1000)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment(redis_port)) as process:
        try:
            while process.poll() is None:
                wait(_LOOK_SECONDS)
        finally:
            process.kill()
        assert process.stdout is not None
        if process.returncode:
            raise RuntimeError("adds.mjs failed")
        times: dict[str, int] = json.loads(process.stdout.read())
        return times


class Traffic:
    """A queue `http` of so many jobs, with so many events a second. Use it as a context manager; nothing happens before
    `begin`.
    """

    def __init__(self, redis_port: int, rows: int, events_per_second: int) -> None:
        self._process = subprocess.Popen(
            ["node", str(BOARD / "traffic.mjs"), str(rows), str(events_per_second)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(redis_port),
        )

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self) -> None:
        """Add the jobs, and let the events begin. It returns when the jobs are there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("traffic.mjs failed")


def commands(client: redis.Redis) -> int:
    """Return how many commands Redis has run since it started, also in scripts, without those of this bench."""
    stats: dict[str, Any] = client.info("commandstats")
    return sum(each["calls"] for name, each in stats.items() if name not in _OWN)


def events(client: redis.Redis) -> int:
    """Return how many entries were added to streams since Redis started."""
    stats: dict[str, Any] = client.info("commandstats")
    return int(stats["cmdstat_xadd"]["calls"])


def _environment(redis_port: int) -> dict[str, str]:
    return {**os.environ, "REDIS_PORT": str(redis_port)}
