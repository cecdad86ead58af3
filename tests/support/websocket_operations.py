"""The requests that clients of WebSockets may send, and what the frames after them show to those who have the right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.support.tokens import jwt

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

HERE: Final = "here"


class Operation(NamedTuple):
    """Requests about the job ID, of which the last one counts, and what the frames after it are with the right.

    `then` is what happens after the answer.
    """

    asked: list[tuple[str, Any]]
    shows: Callable[[list[Frame]], object]
    path: str = "/ws"
    then: Callable[[Redis], object] = lambda _redis: None


JOB: Final = {"jobId": "<id>", "queue": "http"}


def told_outcome(frames: list[Frame]) -> bool:
    return [frames[-1]["event"], frames[-1]["data"]["jobId"]] == ["completed", HERE]


def told_of_job_below(frames: list[Frame]) -> bool:
    """Whether the job in the other queue is counted, and told of."""
    counted = frames[0]["data"]["jobs"][0]["tree"]["total"]
    return [counted, frames[-1]["data"]["jobId"], frames[-1]["parent"]["jobId"]] == [1, "below", HERE]


def left(frames: list[Frame]) -> bool:
    return frames[-1]["data"]["left"] is True


def add_progress(redis: Redis) -> None:
    redis.add_event("http", "progress", "another", data="1")


def add_drained(redis: Redis) -> None:
    redis.add_event("http", "drained", None)
    add_progress(redis)


def add_lines(redis: Redis) -> None:
    for queue in ("http", "sparql"):
        redis.add_log(f"of {queue}", queue=queue)


ALL_EVENTS: Final = {"queue": "http", "events": ["*"]}
OPERATIONS: Final = {
    "subscribe-job": Operation([("subscribe-job", JOB)], told_outcome),
    "subscribe-job in flow": Operation([("subscribe-job", {**JOB, "children": True})], told_of_job_below),
    "subscribe-job anywhere": Operation([("subscribe-job", "<id>")], told_outcome),
    "subscribe-job with lines": Operation(
        [("subscribe-job", {**JOB, "logs": True})],
        lambda frames: [frame["event"] for frame in frames] == ["ack", "job-log", "completed"],
    ),
    "subscribe-job again": Operation([("subscribe-job", {**JOB, "after": {"http": "0-0"}})], told_outcome),
    "subscribe-job in a list": Operation([("subscribe-job", {"jobs": ["<id>"], "queue": "http"})], told_outcome),
    "unsubscribe-job": Operation([("subscribe-job", {**JOB, "events": ["x"]}), ("unsubscribe-job", JOB)], left),
    "subscribe-queue": Operation(
        [("subscribe-queue", ALL_EVENTS)], lambda frames: frames[-1]["data"]["jobId"] == "another", then=add_progress
    ),
    "subscribe-queue every": Operation(
        [("subscribe-queue", {**ALL_EVENTS, "queue": "*"})],
        lambda frames: frames[-1]["data"]["jobId"] == "another",
        then=add_progress,
    ),
    "subscribe-queue drained": Operation(
        [("subscribe-queue", ALL_EVENTS)],
        lambda frames: [frame["event"] for frame in frames[1:]] == ["drained", "progress"],
        then=add_drained,
    ),
    "subscribe-queue numbers": Operation(
        [("subscribe-queue", {"queue": "http", "events": ["queue-stats"]})],
        lambda frames: frames[-1]["data"]["counts"]["completed"] == 1,
    ),
    "unsubscribe-queue": Operation([("subscribe-queue", "http"), ("unsubscribe-queue", "http")], left),
    "ping": Operation([("ping", None)], lambda frames: frames[-1]["event"] == "pong"),
    "authenticate": Operation(
        [("authenticate", {"token": jwt("admin", seconds=86_400)})], lambda frames: frames[-1]["data"]["expires"]
    ),
    "subscribe-logs": Operation(
        [("subscribe-logs", {"tail": 9})], lambda frames: frames[-1]["data"]["message"] == "of sparql", "/logs"
    ),
    "subscribe-logs of queue": Operation(
        [("subscribe-logs", {"tail": 9, "queue": "http"})],
        lambda frames: frames[-1]["data"]["message"] == "of http",
        "/logs",
    ),
    "subscribe-logs live": Operation(
        [("subscribe-logs", None)],
        lambda frames: [frame["data"]["message"] for frame in frames[1:]] == ["of http", "of sparql"],
        "/logs",
        add_lines,
    ),
    "unsubscribe-logs": Operation([("unsubscribe-logs", None)], lambda frames: not left(frames), "/logs"),
    "ping for lines": Operation([("ping", None)], lambda frames: frames[-1]["event"] == "pong", "/logs"),
    "authenticate for lines": Operation(
        [("authenticate", {"token": jwt("admin", seconds=86_400)})],
        lambda frames: frames[-1]["data"]["expires"],
        "/logs",
    ),
}


async def send(client: RawClient, name: str, job_id: str) -> list[str]:
    """Make the requests of an operation, and return the texts of the frames since the last one: its answer."""
    texts: list[str] = []
    for event, data in OPERATIONS[name].asked:
        texts.clear()
        data = json.loads(json.dumps(data).replace("<id>", job_id))  # no token has these characters
        await client.send(event, data, ref=1)
        texts.append(await client.receive_text())
    return texts
