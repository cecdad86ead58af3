"""Helpers for tests that watch jobs over a WebSocket: they write to streams, and check what a client gets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.support import eventually

if TYPE_CHECKING:
    from tests.support.bridge import Live
    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

OLD = 1_000_000_000_000
EVENTS = "bull:http:events"


async def subscribe(client: RawClient, data: object) -> Frame:
    answer = await client.ask("subscribe-job", data)
    assert answer["event"] == "ack", answer
    ack: Frame = answer["data"]
    return ack


async def nothing_more(client: RawClient) -> Frame:
    """Check that no frame waits: send a ping, and return its pong, which must be the next frame."""
    answer = await client.ask("ping")
    assert answer["event"] == "pong", answer
    return answer


def finish(redis: Redis, job_id: str, queue: str = "http", **fields: Any) -> str:
    """Write the events of a job that completed, without its hash, as if it was removed. Return the outcome's stream
    id.
    """
    for event in ("added", "waiting", "active"):
        redis.add_event(queue, event, job_id)
    return redis.add_event(queue, "completed", job_id, prev="active", **{"returnvalue": "1", **fields})


async def read_to(live: Live, stream_id: str) -> None:
    """Wait until the bridge has read the queue `http` up to this entry."""
    await eventually(lambda: live.bridge.fanout.cursors["http"] == stream_id)


async def gap_then_outcome(client: RawClient, reason: str) -> Frame:
    gap = await client.receive()
    assert (gap["event"], gap["data"]["queue"], gap["data"]["jobs"]) == ("gap", "http", None), gap
    assert gap["data"]["reason"] == reason
    return await client.receive()


async def checked(live: Live) -> None:
    """Wait until the bridge is sure that it has missed no entry up to the last one that it has read."""
    await eventually(lambda: live.bridge.fanout.verified["http"] == live.bridge.fanout.cursors["http"])


async def be_quiet_and_busy(redis: Redis, live: Live, client: RawClient) -> None:
    await subscribe(client, {"jobId": "1", "events": ["*"], "queue": "http"})
    deadline = time.monotonic() + 1
    number = 0
    while time.monotonic() < deadline:
        for _ in range(50):
            redis.add_event("http", "progress", "1", data=number)
            number += 1
            assert (await client.receive())["event"] == "progress"
        await checked(live)
        redis.client.xtrim(EVENTS, maxlen=5, approximate=False)
    redis.client.xtrim(EVENTS, maxlen=0, approximate=False)
    check = live.bridge.queues._streams["http"].check_at
    await eventually(lambda: live.bridge.queues._streams["http"].check_at > check + 0.3)
    assert live.bridge.fanout.counts["gaps"] == 0
    await nothing_more(client)
