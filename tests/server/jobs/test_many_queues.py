"""With two hundred and fifty queues, what the bridge says about all of them stays small, and further pages have the
rest.
"""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import anyio.to_thread
from prometheus_client.parser import text_string_to_metric_families

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import call, get

if TYPE_CHECKING:
    from tests.support.redis import Redis

LABELS = [f"q-{number:03}" for number in range(250)]


def make(redis: Redis) -> None:
    for label in LABELS:
        redis.make_queue(label)


async def test_hello_names_the_first_queues_and_pages_have_all(redis: Redis) -> None:
    make(redis)
    async with live_bridge(redis.url, queues=("*",)) as live:
        async with raw_client(live.url, hello=False) as client:
            data = (await client.receive())["data"]
            assert (len(data["queues"]), data["queueCount"]) == (100, 250)
            assert set(data["queues"]) < set(LABELS)
            # A queue that is not named there can still be subscribed to.
            unnamed = next(label for label in LABELS if label not in data["queues"])
            sent = redis.add_event(unnamed, "completed", "1", returnvalue="1")
            ack = await client.ask("subscribe-job", {"jobId": "1", "queue": unnamed})
            assert ack["event"] == "ack"
            assert (await client.receive())["id"] == sent
        for size in (None, 7, 200):
            found: list[str] = []
            limit = "" if size is None else f"limit={size}"
            query = limit
            for _ in range(-(-250 // (size or 100))):
                status, page = await call("GET", f"{live.url}/queues?{query}")
                assert status == 200
                found += [each["queue"] for each in page["queues"]]
                query = f"{limit}&cursor={page['cursor']}"
            assert page["cursor"] is None
            assert found == LABELS
        for wrong in ("limit=0", "limit=201", "limit=x"):
            assert (await call("GET", f"{live.url}/queues?{wrong}"))[0] == 400


async def test_what_is_asked_for_by_probes_is_small(redis: Redis) -> None:
    make(redis)
    async with live_bridge(redis.url, queues=("*",)) as live:

        def scrape() -> dict[str, float]:
            with urllib.request.urlopen(live.url + "/metrics", timeout=60) as response:
                families = list(text_string_to_metric_families(response.read().decode()))
            return {
                sample.name + "".join(sample.labels.values()): sample.value
                for each in families
                for sample in each.samples
            }

        found = await anyio.to_thread.run_sync(scrape)
        assert found["jobws_queues"] == 250
        ages = [value for name, value in found.items() if name.startswith("jobws_seconds_since_readq-")]
        assert len(ages) == 100
        assert max(ages) <= found["jobws_most_seconds_since_read"] < 5


async def test_of_many_problems_few_are_named(redis: Redis) -> None:
    make(redis)
    for label in LABELS:
        redis.client.set(f"bull:{label}:events", "no stream")
    async with live_bridge(redis.url, queues=("*",)) as live:
        assert len(live.bridge.service.problems()) == 250
        status, text = await anyio.to_thread.run_sync(get, live.url + "/readyz")
        body = json.loads(text)
        assert (status, body["ready"], len(body["problems"]), body["more"]) == (503, False, 100, 150)
        page = (await call("GET", live.url + "/queues?cursor=q-248"))[1]["queues"]
        assert [each["queue"] for each in page] == ["q-249"]
        assert "WRONGTYPE" in page[0]["problem"]
