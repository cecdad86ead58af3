"""A start with full streams: the bridge is not ready before it has read them, and takes little memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client

if TYPE_CHECKING:
    from tests.support.redis import Redis

MIB = 1024 * 1024


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def test_results_of_a_mebibyte_each_are_not_kept(redis: Redis) -> None:
    peaks = []
    for count in (0, 300):
        for number in range(count):
            redis.add_event("http", "completed", f"j{number}", returnvalue='"' + "x" * MIB + '"')
        with BridgeProcess("--redis", redis.url, "--port", "0") as bridge:
            url = await anyio.to_thread.run_sync(bridge.started)
            async with raw_client(url) as client:
                for job_id in ("j0", "j299"):
                    ack = await client.ask("subscribe-job", {"jobId": job_id, "queue": "http"})
                    assert ack["data"].get("unknown", False) == (not count)
                    if count:
                        assert len((await client.receive())["data"]["returnvalue"]) == MIB
            peaks.append(peak_bytes(bridge.pid))
    assert peaks[1] - peaks[0] < 64 * MIB, peaks


async def test_a_bridge_is_not_ready_before_the_streams_were_read_back(redis: Redis) -> None:
    redis.add_event("http", "completed", "1", returnvalue="1")
    async with live_bridge(redis.url, ready=False) as live:
        before = live.bridge.service.problems()
        await live.ready()
        assert before.keys() == {"http", "sparql", "techstack", "analyzer"}
        assert not live.bridge.service.problems()
        live.bridge.fanout.begin_reread("http", "0-0", "0-0")
        assert live.bridge.service.problems() == {"http": "what its stream holds is being read"}
