"""Every event of BullMQ, by workers of both languages: clients get what QueueEvents delivers, event by event."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.lifecycle import live_through
from tests.support.node import NodeProcess, install_packages

if TYPE_CHECKING:
    from tests.support.redis import Redis

PROTOCOL = (Path(__file__).parent.parent / "protocol.md").read_text(encoding="utf-8")
LAST = "the end"


async def test_clients_get_what_queue_events_delivers_for_every_event(redis: Redis) -> None:
    await anyio.to_thread.run_sync(install_packages)
    arguments = (str(redis.server.port), redis.server.url.split(":")[2].split("@")[0], "bull", "http")
    with NodeProcess("lifecycle.mjs", *arguments) as node, NodeProcess("recorder.mjs", *arguments) as recorder:
        async with live_bridge(redis.url, queues=("http",), progress_ms=0) as live, raw_client(live.url) as client:
            await client.ask("subscribe-queue", {"queue": "http", "events": ["*"]})
            for step in ("run", "afterwards", "queue", "custom"):
                node.write_line(step)
                assert await anyio.to_thread.run_sync(node.read_line) == "done"
            from_node = redis.add_event("http", "half", None)
            await anyio.to_thread.run_sync(live_through, redis.url, "http")
            redis.add_event("http", LAST, None)
            received = await client.until(LAST)
        delivered: list[dict[str, Any]] = []
        while not (delivered and delivered[-1]["event"] == LAST):
            delivered.append(json.loads(await anyio.to_thread.run_sync(recorder.read_line)))
    for event in delivered:
        event["data"]["queue"] = "http"
        event["event"] = f"custom:{event['event']}" if event["event"] == "gap" else event["event"]
    assert received == delivered
    assert len(delivered) == redis.client.xlen("bull:http:events")
    half = [event["id"] for event in delivered].index(from_node)
    of_node, of_python = ({event["event"] for event in some} for some in (delivered[:half], delivered[half + 1 :]))
    first_cells = re.findall(r"^\| (`.+?`) \|", PROTOCOL.split("**E2.**")[1].split("**E3.**")[0], re.MULTILINE)
    in_table = {name for cell in first_cells for name in re.findall("`(.+?)`", cell)}
    assert len(in_table) == 17
    assert of_node == in_table | {"mine", "custom:gap"}
    assert of_python == in_table | {"mine", LAST}
