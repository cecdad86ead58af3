"""Requests of every kind, one after the other: the bridge does not grow."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.bridge import BridgeProcess
from tests.support.requests_of_schema import examine
from tests.support.signing import SECRET
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from tests.support.redis import Redis

MOST_GROWTH = 1.05
# None of the requests is refused for there being many.
LIMITS = tuple(
    part
    for limit in ("requests-per-second", "requests-per-minute", "log-lines-per-minute")
    for part in (f"--{limit}", "1000000")
)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
@pytest.mark.thorough
@pytest.mark.skipif(settings.default.max_examples < 1000, reason="make fuzz runs it, since it takes minutes")  # type: ignore[union-attr]
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells what memory a process has")
def test_a_bridge_does_not_grow(redis: Redis, tmp_path: Path) -> None:
    """Memory after the second half of the requests is at most 1.05 times that after the first half."""
    redis.add_job("http", "1", state="completed", returnvalue='{"x":[1]}', finishedOn=1795435730000)
    tokens = (jwt("admin", seconds=10_000), jwt("read:jobs:http/1", seconds=10_000), None)
    environment = {"JOBWS_JWT_SECRET": SECRET.decode()}
    # Every queue that the requests make would be read, and take memory.
    arguments = ("--redis", redis.url, "--port", "0", "--queue", "http", "--max-wait-seconds", "0.05", *LIMITS)
    with BridgeProcess(*arguments, environment=environment) as bridge, ThreadPoolExecutor() as pool:
        url = bridge.started()
        exit_code = pool.submit(bridge.wait)  # reads the log meanwhile
        sizes = []
        try:
            for half in (1, 2):
                for token in tokens:
                    done = examine(url, token, tmp_path, seed=half, examples=30)
                    assert done.returncode == 0, done.stdout + done.stderr
                sizes.append(resident_bytes(bridge.pid))
        finally:
            os.kill(bridge.pid, signal.SIGTERM)
            code = exit_code.result()
        assert code == 0
    assert not [line for line in bridge.lines if "Traceback" in line or " ERROR " in line]
    assert sizes[1] <= MOST_GROWTH * sizes[0], sizes
