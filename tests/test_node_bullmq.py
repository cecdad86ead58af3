"""With BullMQ for Node: a client of the bridge gets what BullMQ's own QueueEvents delivers for a job, plus `queue`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.node import NodeProcess, install_packages

if TYPE_CHECKING:
    from tests.support.redis import Redis

JOBS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "success": ({"do": "succeed", "result": {"ok": True, "n": [1, 2.5, None], "text": "naïve 💥"}}, {}),
    "nothing": ({"do": "succeed"}, {}),
    "exhausted": ({"do": "fail", "reason": "échec 💥\nsecond line"}, {"attempts": 3}),
    "backed-off": ({"do": "fail", "reason": "again"}, {"attempts": 2, "backoff": {"type": "fixed", "delay": 50}}),
    "progress": ({"do": "progress", "steps": [0, 50.5, {"stage": "é"}, "almost", True, [1, "two"]]}, {}),
    "later": ({"do": "succeed", "result": "late"}, {"delay": 100}),
    "urgent": ({"do": "succeed", "result": "first"}, {"priority": 5}),
    "gone": ({"do": "succeed", "result": {"only": "in the stream"}}, {"removeOnComplete": True}),
    "ünï çødé 👩‍👩‍👧‍👦": ({"do": "surrogate"}, {}),
    "large": ({"do": "large", "size": 1024 * 1024}, {}),
}
LAST = "last"


@pytest.mark.parametrize(
    ("prefix", "name", "label"), [("bull", "http", "http"), ("{my:app}", "hidden", "shown")], ids=["plain", "renamed"]
)
async def test_clients_get_what_queue_events_delivers(redis: Redis, prefix: str, name: str, label: str) -> None:
    await anyio.to_thread.run_sync(install_packages)
    arguments = (str(redis.server.port), redis.server.url.split(":")[2].split("@")[0], prefix, name)
    with NodeProcess("worker.mjs", *arguments) as worker, NodeProcess("recorder.mjs", *arguments) as recorder:
        async with (
            live_bridge(redis.url, queues=(f"{label}={prefix}:{name}",), progress_ms=0) as live,
            raw_client(live.url) as client,
        ):
            await client.ask("subscribe-job", {"jobs": [*JOBS, LAST], "events": ["*"]})
            for job_id, (data, opts) in JOBS.items():
                worker.write_line(
                    json.dumps({"name": f"näme of {job_id}", "data": data, "opts": {**opts, "jobId": job_id}})
                )
            received: list[dict[str, Any]] = []
            ended: set[str] = set()
            while ended < JOBS.keys():
                received.append(await client.receive())
                if received[-1]["event"] in ("completed", "failed"):
                    ended.add(received[-1]["data"]["jobId"])
            # Events that follow an outcome (`retries-exhausted`) are written before the next job starts.
            worker.write_line(json.dumps({"name": LAST, "data": {"do": "succeed"}, "opts": {"jobId": LAST}}))
            received += await client.until("completed", jobId=LAST)
        delivered: list[dict[str, Any]] = []
        while not (delivered and delivered[-1]["event"] == "completed" and delivered[-1]["data"]["jobId"] == LAST):
            event = json.loads(await anyio.to_thread.run_sync(recorder.read_line))
            if event["event"] != "drained":  # no event of a job
                delivered.append(event)
    for event in delivered:
        event["data"]["queue"] = label
    assert received == delivered

    def of(job_id: str) -> list[str]:
        return [frame["event"] for frame in received if frame["data"]["jobId"] == job_id]

    assert of("success") == ["added", "waiting", "active", "completed"]
    assert of("exhausted").count("failed") == 1
    assert of("exhausted").count("active") == 3
    assert of("backed-off") == [
        *("added", "waiting", "active", "delayed", "waiting", "active", "failed", "retries-exhausted"),
    ]
    assert of("progress").count("progress") == 6
    assert of("later")[:2] == ["added", "delayed"]
    results = {f["data"]["jobId"]: f["data"].get("returnvalue") for f in received if f["event"] == "completed"}
    assert results["success"] == JOBS["success"][0]["result"]
    assert results["nothing"] is None
    assert results["gone"] == {"only": "in the stream"}
    assert len(results["large"]) == 1024 * 1024
    assert results["ünï çødé 👩‍👩‍👧‍👦"] == "lone \ud800, line \u2028, emoji 👩‍👩‍👧‍👦"
