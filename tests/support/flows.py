"""Flows in Redis, as BullMQ writes them, and what frames tell of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jobws.server.intervals import USUAL_INTERVALS
from tests.support.bridge import QUICK, live_bridge

if TYPE_CHECKING:
    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

QUEUES: Final = ("http", "sparql", "techstack")
flow_bridge = partial(live_bridge, pauses=QUICK, intervals=USUAL_INTERVALS._replace(flow_seconds=0.05), queues=QUEUES)
FLOW: Final = {"sub": 5, "jobId": "top", "queue": "http", "children": True}


def add_child(redis: Redis, parent: tuple[str, str], queue: str, job_id: str, state: str = "wait") -> None:
    """Add a job below another one, as BullMQ does: in one step."""
    above = f"bull:{parent[0]}:{parent[1]}"
    redis.add_job(queue, job_id, state=state, parentKey=above)
    redis.client.sadd(f"{above}:dependencies", f"bull:{queue}:{job_id}")
    redis.add_event(queue, "added", job_id, name="test")


def end_child(redis: Redis, parent: tuple[str, str], queue: str, job_id: str, event: str = "completed") -> str:
    """End a job, and move it on in its parent's lists."""
    above, key = f"bull:{parent[0]}:{parent[1]}", f"bull:{queue}:{job_id}"
    redis.client.srem(f"{above}:dependencies", key)
    redis.client.hset(f"{above}:processed" if event == "completed" else f"{above}:failed", key, "1")
    return end(redis, queue, job_id, event)


def end(redis: Redis, queue: str, job_id: str, event: str = "completed") -> str:
    value = {"returnvalue": "1"} if event == "completed" else {"failedReason": "no"}
    redis.client.zrem(f"bull:{queue}:waiting-children", job_id)
    redis.client.lrem(f"bull:{queue}:wait", 0, job_id)
    redis.client.zadd(f"bull:{queue}:{event}", {job_id: 1})
    fields: dict[Any, Any] = {"finishedOn": 1795435730000, **value}
    redis.client.hset(f"bull:{queue}:{job_id}", mapping=fields)
    return redis.add_event(queue, event, job_id, prev="active", **value)


def fail_of_child(redis: Redis, queue: str, job_id: str, child: str) -> str:
    """Let a job fail because the child with this key has failed. Return the id of the event."""
    reason = f"child {child} failed"
    fields: dict[Any, Any] = {"finishedOn": 1795435730000, "failedReason": reason, "stacktrace": f'["Error: {reason}"]'}
    redis.add_job(queue, job_id, state="failed", **fields)
    return redis.add_event(queue, "failed", job_id, failedReason=reason, prev="active")


def add_flow(redis: Redis) -> None:
    """Three levels in three queues: `top`, below it `a` and `b`, and below `a` `c`."""
    redis.add_job("http", "top", state="waiting-children")
    redis.add_event("http", "added", "top", name="test")
    add_child(redis, ("http", "top"), "sparql", "a", "waiting-children")
    add_child(redis, ("http", "top"), "techstack", "b")
    add_child(redis, ("sparql", "a"), "techstack", "c")


def end_flow(redis: Redis) -> None:
    end_child(redis, ("sparql", "a"), "techstack", "c")
    end_child(redis, ("http", "top"), "sparql", "a")
    end_child(redis, ("http", "top"), "techstack", "b", "failed")
    end(redis, "http", "top")


def told(frames: list[Frame]) -> list[tuple[Any, ...]]:
    """Return what frames tell of jobs: the event, the job's id and that of the job above it."""
    return [
        (frame["event"], frame["data"]["jobId"], frame.get("parent", {}).get("jobId"))
        for frame in frames
        if frame["event"] not in ("ack", "pong")
    ]


async def outcomes(client: RawClient, count: int) -> list[Frame]:
    """Return the next frames that tell of jobs."""
    frames: list[Frame] = []
    while len(frames) < count:
        frame = await client.receive()
        if frame["event"] not in ("ack", "pong"):
            frames.append(frame)
    return frames


async def until_top(client: RawClient) -> list[Frame]:
    """Return the frames up to the outcome of the job at the top, without `pong`."""
    return [frame for frame in await client.until("completed", jobId="top") if frame["event"] != "pong"]
