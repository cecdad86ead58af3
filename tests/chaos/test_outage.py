"""A thousand jobs end while the bridge cannot reach Redis, and the stream keeps only a hundred events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from tests.chaos.proxy import Proxy
from tests.chaos.worker import working
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client

if TYPE_CHECKING:
    from tests.support.redis import Redis

JOBS = 1000
LIMIT = 100


async def test_every_watched_outcome_arrives_after_an_outage(redis: Redis) -> None:
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", LIMIT)
    proxy = Proxy(redis.server.port)
    url = redis.url.replace(f":{redis.server.port}/", f":{proxy.port}/")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.run)
        with working(redis.url, "http") as worker:
            async with live_bridge(url) as live, raw_client(live.url) as client:
                jobs = [f"j{number}" for number in range(JOBS)]
                answer = await client.ask("subscribe-job", {"jobs": jobs, "queue": "http", "until": "end"})
                assert answer["event"] == "ack"
                proxy.open = False
                proxy.cut()
                for number, job_id in enumerate(jobs):
                    data = {"seconds": 0, "fails": None, "result": number}
                    task = {"name": "chaos", "data": data, "opts": {"jobId": job_id}}
                    print(json.dumps({"queue": "http", "jobs": [task]}), file=worker, flush=True)
                await eventually_within(redis, JOBS)
                assert redis.client.xlen("bull:http:events") < 4 * LIMIT
                proxy.open = True
                found: dict[str, int] = {}
                gaps = made = 0
                while len(found) < JOBS:
                    frame = await client.receive()
                    if frame["event"] == "gap":
                        gaps += 1
                        continue
                    assert frame["event"] == "completed", frame
                    job_id = frame["data"]["jobId"]
                    assert job_id not in found, frame
                    found[job_id] = frame["data"]["returnvalue"]
                    made += "~" in frame["id"]
                assert found == {job_id: number for number, job_id in enumerate(jobs)}
                assert (await client.ask("ping"))["event"] == "pong"
                print(f"{gaps} gaps, {made} outcomes made from hashes")
                assert gaps
                assert made > JOBS / 2
        nursery.cancel_scope.cancel()


async def eventually_within(redis: Redis, count: int) -> None:
    """Wait until so many jobs are done."""
    for _ in range(4):
        try:
            await eventually(lambda: redis.client.zcard("bull:http:completed") == count)
        except TimeoutError:
            continue
        return
    raise TimeoutError("the worker does not come to an end")
