"""Which queues are read: those that are found, found later, shared by readers, or broken; and readers that crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import get

if TYPE_CHECKING:
    from tests.support.redis import Redis


@pytest.mark.parametrize("prefix", ["bull", "a[b]*?", "{my:app}"])
async def test_queues_that_appear_later_lose_nothing(redis: Redis, prefix: str) -> None:
    redis.make_queue("*?[x]", prefix)
    redis.client.hset(f"{prefix}:http:some-job:meta", "name", "no queue")
    redis.client.hset("other:http:meta", "opts.maxLenEvents", "10000")
    async with (
        live_bridge(redis.url, queues=("*",), prefix=prefix, discover_seconds=0.1) as live,
        raw_client(live.url, hello=False) as client,
    ):
        assert (await client.receive())["data"]["queues"] == ["*?[x]"]
        await client.ask("subscribe-job", "1")
        redis.make_queue("later", prefix)
        sent = [redis.add_event("later", "completed", "1", prefix=prefix, returnvalue="1") for _ in range(3)]
        received = [await client.receive() for _ in sent]
        assert [frame["id"] for frame in received] == sent
        assert received[0]["data"]["queue"] == "later"


@pytest.mark.parametrize("known_before", [True, False])
async def test_what_a_young_queue_lost_is_reported(redis: Redis, known_before: bool) -> None:
    """The stream keeps 20 entries, and 600 are written together, before or after the queue is found."""
    async with (
        live_bridge(redis.url, queues=("*",), discover_seconds=0.1) as live,
        raw_client(live.url) as client,
    ):
        await client.ask("subscribe-job", {"jobId": "599", "events": ["*"]})
        pipe = redis.client.pipeline(transaction=True)
        pipe.hset("bull:young:meta", "opts.maxLenEvents", 20)
        if known_before:
            pipe.execute()
            await eventually(lambda: "young" in live.bridge.queues.by_label)
            await live.ready()
        for number in range(600):
            entry = {"event": "completed", "jobId": number, "returnvalue": number}
            pipe.xadd("bull:young:events", entry, maxlen=20, approximate=False)  # type: ignore[arg-type]
        pipe.execute()
        frames = [await client.receive() for _ in range(2)]
        assert sorted(frame["event"] for frame in frames) == ["completed", "gap"]
        (gap,) = (frame["data"] for frame in frames if frame["event"] == "gap")
        assert (gap["queue"], gap["reason"]) == ("young", "trimmed")


async def test_a_young_queue_of_which_nothing_was_trimmed_has_no_gap(redis: Redis) -> None:
    """There is no such job, which a sweep would report."""
    async with (
        live_bridge(redis.url, queues=("*",), discover_seconds=0.1, sweep_seconds=3600) as live,
        raw_client(live.url) as client,
    ):
        await client.ask("subscribe-job", {"jobId": "1", "events": ["*"]})
        redis.make_queue("young")
        for number in range(200):
            redis.add_event("young", "progress", "1", data=number)
            frame = await client.receive()
            assert (frame["event"], frame["data"]["data"]) == ("progress", number)
        assert live.bridge.fanout.counts["gaps"] == 0


async def test_a_label_that_is_taken_stays_what_it_was(redis: Redis) -> None:
    redis.make_queue("http")
    async with live_bridge(redis.url, queues=("http=mine:web", "*"), discover_seconds=0.1) as live:
        assert list(live.bridge.queues.by_label) == ["http"]
        assert live.bridge.queues.by_label["http"].prefix == "mine"


async def test_connections_to_redis_stay_constant(redis: Redis) -> None:
    def connections() -> int:
        return len(redis.client.client_list())

    for number in range(20):
        redis.make_queue(f"q{number}")
    async with (
        live_bridge(redis.url, queues=("*",), discover_seconds=0.1) as live,
        raw_client(live.url) as client,
    ):
        await client.ask("subscribe-job", "1")
        most = 16 + 4  # readers, then the store, discovery, the unblocker, and this test
        assert connections() <= most
        for number in range(20, 40):
            redis.make_queue(f"q{number}")
        await eventually(lambda: len(live.bridge.queues.by_label) == 40)
        await live.ready()
        for number in range(40):
            redis.add_event(f"q{number}", "completed", "1", returnvalue=str(number))
        results = {(await client.receive())["data"]["returnvalue"] for _ in range(40)}
        assert results == set(range(40))
        assert connections() <= most


async def test_a_key_that_is_no_stream_harms_its_own_queue_only(redis: Redis) -> None:
    redis.client.set("bull:broken:events", "no stream")
    queues = ("broken", *(f"q{number}" for number in range(32)))
    async with live_bridge(redis.url, ready=False, queues=queues) as live, raw_client(live.url) as client:
        await live.bridge.queues.wait_until_read(queues[1:])
        await client.ask("subscribe-queue", "q16")
        sent = redis.add_event("q16", "completed", "1", returnvalue="1")
        assert (await client.receive())["id"] == sent
        now = anyio.current_time()
        await eventually(lambda: list(live.bridge.queues.problems(now)) == ["broken"])


async def test_a_crash_restarts_one_listener_and_closes_no_socket(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", "1")
        _, *others = live.bridge.queues._readers
        fanout = live.bridge.fanout
        publish = fanout.publish
        crashes = 0

        def crash(queue: str, entries: object, start: int = 0) -> int:
            nonlocal crashes
            crashes += 1
            monkeypatch.setattr(fanout, "publish", publish)
            raise RuntimeError("a bug")

        monkeypatch.setattr(fanout, "publish", crash)
        sent = redis.add_event("http", "completed", "1", returnvalue="1")
        assert (await client.receive())["id"] == sent
        assert crashes == 1
        assert [health.crashes for health in live.bridge.queues.health] == [1] + [0] * len(others)
        assert "crashed and is started again" in caplog.text
        status, body = await anyio.to_thread.run_sync(get, live.url + "/readyz")
        assert status == 503
        assert "RuntimeError: a bug" in body
        assert (await client.ask("ping"))["event"] == "pong"
