"""`Client.watch_queue` against a real bridge: what it yields, and that nothing is missed while it is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from jobws.client import connect
from jobws.errors import ResponseError
from tests.chaos.proxy import Proxy
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from jobws.client.jobs.iterators import Events
    from tests.support.redis import Redis


async def take(events: Events, count: int) -> list[tuple[object, str, str | None]]:
    """Return the queues, names and positions of the next events."""
    found = [await anext(events) for _ in range(count)]
    return [(event.data["queue"], event.event, event.id) for event in found]


async def test_the_events_of_a_queue_are_yielded(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        async with jobs.watch_queue("http") as outcomes, jobs.watch_queue(["http", "sparql"], ["*"]) as all_events:
            first = redis.add_event("http", "active", "1")
            second = redis.add_event("http", "failed", "1", failedReason="no")
            assert await take(outcomes, 1) == [("http", "failed", second)]
            assert await take(all_events, 2) == [("http", "active", first), ("http", "failed", second)]
            third = redis.add_event("sparql", "drained", None)
            assert await take(all_events, 1) == [("sparql", "drained", third)]
        await eventually(lambda: not live.bridge.fanout.rooms)


async def test_the_numbers_of_every_queue_are_yielded(redis: Redis) -> None:
    async with (
        live_bridge(redis.url, queues=("http", "sparql")) as live,
        connect(live.url) as jobs,
        jobs.watch_queue(events=["queue-stats"]) as events,
    ):
        found = {each[:2] for each in await take(events, 2)}
    assert found == {("http", "queue-stats"), ("sparql", "queue-stats")}


async def test_a_watch_begins_after_a_position(redis: Redis) -> None:
    first, second = (redis.add_event("http", "failed", each, failedReason="no") for each in ("1", "2"))
    async with (
        live_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch_queue("http", ["*", "queue-stats"], after={"http": first}) as events,
    ):
        assert await take(events, 1) == [("http", "failed", second)]
        assert await take(events, 1) == [("http", "queue-stats", None)]


async def test_a_gap_is_yielded(redis: Redis) -> None:
    redis.add_event("http", "failed", "1", failedReason="no")
    ahead = {"http": "9999999999999-0"}
    async with (
        live_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch_queue("http", after=ahead) as one,
        jobs.watch_queue(after=ahead) as every,
    ):
        for events, queue in ((one, "http"), (every, None)):
            gap = await anext(events)
            assert (gap.event, gap.data) == ("gap", {"queue": queue, "jobs": None})


async def test_what_happened_during_an_interruption_is_not_missed(redis: Redis) -> None:
    async with live_bridge(redis.url, queues=("http", "sparql")) as live, trio.open_nursery() as nursery:
        proxy = Proxy(int(live.url.rpartition(":")[2]))
        nursery.start_soon(proxy.run)
        async with (
            connect(f"http://127.0.0.1:{proxy.port}") as jobs,
            jobs.watch_queue() as every,
            jobs.watch_queue("http", ["*"]) as one,
        ):
            before = redis.add_event("http", "failed", "1", failedReason="no")
            assert await take(every, 1) == await take(one, 1) == [("http", "failed", before)]
            proxy.open = False
            proxy.cut()
            missed = redis.add_event("http", "failed", "2", failedReason="no")
            other = redis.add_event("sparql", "failed", "1", failedReason="no")
            proxy.open = True
            assert await take(every, 2) == [("http", "failed", missed), ("sparql", "failed", other)]
            assert await take(one, 1) == [("http", "failed", missed)]
        nursery.cancel_scope.cancel()


async def test_what_the_bridge_refuses_is_raised(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        with pytest.raises(ResponseError, match="nope: this bridge has no `queue` of that label"):
            async with jobs.watch_queue("nope"):
                pass
        with pytest.raises(ResponseError, match="`queue` must be valid Unicode text of at most 512 bytes"):
            async with jobs.watch_queue("x" * 513):
                pass
        for events, sentence in (
            ("failed", '`events` must be a list of event names, or ["*"] for all'),
            (["x" * 65], "an event's name may have 64 bytes of UTF-8"),
        ):
            with pytest.raises(ResponseError) as refused:
                async with jobs.watch_queue("http", events):
                    pass
            assert (refused.value.code, refused.value.message) == ("bad-events", sentence)
    async with keyed_bridge(redis.url) as live, connect(live.url, token=jwt("read:jobs:http/1")) as jobs:
        with pytest.raises(ResponseError, match=r"\*: the token does not allow this"):
            async with jobs.watch_queue():
                pass


async def test_more_queues_than_subscriptions_to_one_job(redis: Redis) -> None:
    labels = [f"q{number}" for number in range(20)]
    async with (
        live_bridge(redis.url, queues=tuple(labels)) as live,
        connect(live.url) as jobs,
        jobs.watch_queue(labels) as events,
    ):
        sent = {(label, "failed", redis.add_event(label, "failed", "1", failedReason="no")) for label in labels}
        assert set(await take(events, 20)) == sent
