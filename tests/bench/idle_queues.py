"""Measures what many queues cost while nothing happens: `python -m tests.bench.idle_queues 1000 10000`.

For each number of queues it prints how long `jobws serve --queues '*'` takes until `/readyz` answers 200, the memory,
the CPU of the bridge and of Redis over 15 s, and how long `/readyz` and `/metrics` take (median of 7).
"""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import redis

from jobws.embedded import EmbeddedRedis
from tests.support.bridge import BridgeProcess

SETTLE_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 15.0
READY_SECONDS: Final = 120.0
# How often to ask `/readyz`. Each request takes the bridge some milliseconds.
ASK_SECONDS: Final = 0.2
TICKS: Final = os.sysconf("SC_CLK_TCK")


def main(counts: list[int]) -> None:
    """Measure each number of queues in a Redis of its own."""
    print("queues  ready s  CPU s  MiB  idle bridge %  idle Redis %  /readyz ms  /metrics ms")
    for count in counts:
        with EmbeddedRedis() as server:
            fill(server.url, count)
            measure(server, count)


def fill(url: str, count: int) -> None:
    """Make so many queues with three events each."""
    with redis.Redis.from_url(url) as client:
        for start in range(0, count, 500):
            pipeline = client.pipeline(transaction=False)
            for number in range(start, min(start + 500, count)):
                pipeline.hset(f"bull:q{number}:meta", "opts.maxLenEvents", "10000")
                for job in range(3):
                    pipeline.xadd(f"bull:q{number}:events", {"event": "active", "jobId": str(job)})
            pipeline.execute()


def measure(server: EmbeddedRedis, count: int) -> None:
    """Start a bridge, measure, and print one line."""
    began = time.monotonic()
    with BridgeProcess("--port", "0", "--redis", server.url, "--queues", "*", "--no-own-log") as bridge:
        url = bridge.started()
        while not _is_ready(url):
            if time.monotonic() - began > READY_SECONDS:
                raise SystemExit(f"not ready after {READY_SECONDS:g} s")
            time.sleep(ASK_SECONDS)
        ready, cpu = time.monotonic() - began, _cpu(bridge.pid)
        time.sleep(SETTLE_SECONDS)
        before = _cpu(bridge.pid), _cpu(server.pid), time.monotonic()
        time.sleep(IDLE_SECONDS)
        seconds = time.monotonic() - before[2]
        idle = [100 * (_cpu(pid) - used) / seconds for pid, used in zip((bridge.pid, server.pid), before, strict=False)]
        probes = [_milliseconds(url + path) for path in ("/readyz", "/metrics")]
        print(
            f"{count:6}  {ready:7.2f}  {cpu:5.2f}  {_mebibytes(bridge.pid):3.0f}  {idle[0]:13.2f}  {idle[1]:12.2f}"
            f"  {probes[0]:10.1f}  {probes[1]:11.1f}",
            flush=True,
        )


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=30):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return False


def _milliseconds(url: str) -> float:
    took = []
    for _ in range(7):
        began = time.perf_counter()
        with urllib.request.urlopen(url, timeout=30) as response:
            response.read()
        took.append(time.perf_counter() - began)
    return sorted(took)[3] * 1000


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _mebibytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or [4, 1000, 10_000])
