"""Positions that are too high, since a hole is before them or the stream is another one: no outcome is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import pytest

from jobws.bullmq.reading.schedule import Pauses
from jobws.protocol.identifiers import position
from tests.chaos.proxy import Proxy
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import QUICK, live_bridge, quick_bridge
from tests.support.client import raw_client
from tests.support.watching import EVENTS, OLD, finish, nothing_more, read_to, subscribe

if TYPE_CHECKING:
    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis


async def test_a_client_ahead_of_a_stream_that_went_back_gets_its_outcome(redis: Redis) -> None:
    """This happens after a failover to a replica that did not have everything: the id is lower than the client's
    position.
    """
    finish(redis, "1")
    redis.client.delete("bull:http:events")
    redis.add_job("http", "2", state="completed", finishedOn=time.time() * 1000, returnvalue="2")
    sent = redis.add_entry("http", {b"event": b"completed", b"jobId": b"1", b"returnvalue": b"1"}, stream_id="7-0")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        after = f"{time.time() * 1000 + 5000:.0f}-0"
        ack = await subscribe(client, {"jobs": ["1", "2"], "queue": "http", "after": after})
        assert [result["gap"] for result in ack["results"]] == [True] * 2
        first, second = await client.receive(), await client.receive()
        assert (first["data"]["jobId"], first["id"], second["data"]["jobId"]) == ("1", sent, "2")
        assert second["id"].startswith(f"{sent}~")
        await nothing_more(client)


@pytest.mark.counts
async def test_a_stream_that_began_after_the_position_is_another_one(redis: Redis) -> None:
    """The stream was deleted and created again while no bridge ran.

    Nothing was trimmed, and yet the outcome is missing.
    """
    redis.add_job("http", "1", state="completed", finishedOn=time.time() * 1000, returnvalue="1")
    after = redis.add_event("http", "active", "1")
    redis.client.delete("bull:http:events")
    redis.add_entry("http", {b"event": b"active", b"jobId": b"2"}, stream_id=f"{int(after.split('-')[0]) + 5}-0")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await subscribe(client, {"jobId": "1", "queue": "http", "after": after})
        assert ack["gap"]
        assert (await client.receive())["data"]["returnvalue"] == 1
        assert "gap" not in await subscribe(client, {"jobId": "2", "queue": "http", "after": "0-0"})
        # There was a stream, and there is none any more.
        assert (await client.receive())["event"] == "removed"
        await nothing_more(client)


async def test_an_outcome_from_the_hash_is_reported_once_however_many_holes_follow(redis: Redis) -> None:
    """The stream ends long before the job ended, since entries are gone.

    This does not mean that the job was retried.
    """
    redis.add_job("http", "1", state="completed", finishedOn=time.time() * 1000, returnvalue="1")
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "queue": "http"})
        assert (await client.receive())["event"] == "completed"
        for number in range(2, 4):
            redis.add_job("http", f"{number}", state="completed", finishedOn=OLD, returnvalue=number)
            stream_id = f"{number}-0"
            redis.add_entry("http", {b"event": b"active", b"jobId": b"9"}, stream_id=stream_id)
            await read_to(live, stream_id)
            await subscribe(client, {"jobId": f"{number}", "queue": "http"})
            assert (await client.receive())["data"]["returnvalue"] == number
            redis.client.delete(EVENTS)
            assert (await client.receive())["event"] == "gap"
            await eventually(lambda: not live.bridge.fanout.without_position)
            await nothing_more(client)


@pytest.mark.counts
@pytest.mark.parametrize("room", [{"queue": "http"}, {"queue": "http", "until": "end"}, {"until": "end"}])
async def test_a_client_that_was_thought_to_have_the_outcome_gets_it_when_a_hole_is_found(
    redis: Redis, room: dict[str, str]
) -> None:
    """The client returns before the bridge knows that the stream is another one."""
    redis.add_job("http", "1", state="active")
    after = redis.add_event("http", "active", "1")
    pauses = QUICK._replace(check_seconds=3600.0, verify_seconds=3600.0)  # no check but the one below
    async with live_bridge(redis.url, pauses=pauses) as live, raw_client(live.url) as client:
        await read_to(live, after)
        pipe = redis.client.pipeline(transaction=True)
        pipe.lrem("bull:http:active", 0, "1")
        pipe.zadd("bull:http:completed", {"1": OLD})
        pipe.hset("bull:http:1", mapping={"finishedOn": time.time() * 1000, "returnvalue": "1"})
        pipe.delete(EVENTS)
        pipe.xadd(EVENTS, {"event": "active", "jobId": "2"}, id=f"{int(after.split('-')[0]) + 5}-0")
        pipe.execute()
        ack = await subscribe(client, {"jobId": "1", **room, "after": {"http": after}})
        assert ack["jobs"][0]["state"] == "completed" or ack["after"]
        live.bridge.queues._streams["http"].check_at = 0.0
        # Which one comes first depends on when the hole is found.
        awaited = {"completed"} if "until" in room else {"completed", "gap"}
        frames: list[Frame] = []
        while not awaited <= {frame["event"] for frame in frames}:
            frames.append(await client.receive())
        assert [frame["event"] for frame in frames].count("completed") == 1
        assert all("~" in frame["id"] for frame in frames if frame["event"] == "completed")
        await nothing_more(client)


async def test_a_pong_after_a_gap_promises_nothing_until_its_outcomes_are_reported(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that leaves in between, and returns with the pong's position, still gets them."""
    redis.add_job("http", "1", state="active")
    async with quick_bridge(redis.url) as live:
        begun = redis.add_event("http", "active", "1")
        async with raw_client(live.url) as client:
            ack = await subscribe(client, {"jobId": "1", "queue": "http"})
            await read_to(live, begun)
            monkeypatch.setattr(live.bridge._reading_back, "_deliver_outcomes", _never)
            end_unseen(redis)
            assert (await client.receive())["event"] == "gap"
            pong = await nothing_more(client)
            assert "http" not in pong["data"]["after"]
        monkeypatch.undo()
        after = {**ack["after"], **pong["data"]["after"]}
        async with raw_client(live.url) as client:
            await subscribe(client, {"jobId": "1", "queue": "http", "after": after})
            assert (await client.receive())["event"] == "completed"
            await nothing_more(client)


@pytest.mark.counts
async def test_a_position_from_before_a_hole_was_found_is_doubtful(redis: Redis) -> None:
    """The outcome was deleted from the middle of the stream before it was read, so only the count shows this."""
    redis.add_job("http", "1", state="active")
    async with quick_bridge(redis.url) as live:
        begun = redis.add_event("http", "active", "1")
        async with raw_client(live.url) as client:
            await subscribe(client, {"jobId": "1", "queue": "http"})
            await read_to(live, begun)
            after = (await verified(client, begun))["data"]["after"]
        end_unseen(redis, trim=False)
        await eventually(lambda: live.bridge.fanout.counts["gaps"] == 1 and not live.bridge.fanout.without_position)
        async with raw_client(live.url) as client:
            ack = await subscribe(client, {"jobId": "1", "queue": "http", "after": after})
            assert ack["gap"]
            assert (await client.receive())["event"] == "completed"
            await verified(client, after["http"])


@pytest.mark.counts
async def test_no_pong_tells_a_position_behind_a_hole_that_is_not_found_yet(redis: Redis) -> None:
    """The bridge ends before it finds the hole, and the next bridge cannot find it."""
    redis.add_job("http", "1", state="active")
    begun = redis.add_event("http", "active", "1")
    never = Pauses(check_seconds=3600, verify_seconds=3600)
    async with live_bridge(redis.url, pauses=never) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "queue": "http"})
        await read_to(live, end_unseen(redis))
        after = (await nothing_more(client))["data"]["after"]
        assert after["http"] == begun
    async with quick_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobId": "1", "queue": "http", "after": after})
        assert (await client.receive())["event"] == "completed"
        await nothing_more(client)


@pytest.mark.parametrize("is_listened", [True, False])
async def test_a_position_is_reported_soon_after_the_entries_were_read_however_long_the_next_check_is(
    redis: Redis, is_listened: bool
) -> None:
    hours = Pauses(check_seconds=3600, block_seconds=3600, answer_seconds=7200)
    async with live_bridge(redis.url, pauses=hours) as live, raw_client(live.url) as client:
        if is_listened:
            await subscribe(client, {"jobId": "1", "queue": "http"})
        for _ in range(3):
            sent = redis.add_event("http", "active", "1")
            if is_listened:
                await verified(client, sent)
            await eventually(lambda: live.bridge.fanout.verified["http"] == sent)  # noqa: B023 - asked at once


async def test_what_the_client_had_from_a_faster_bridge_does_not_come_again(redis: Redis) -> None:
    """This bridge reads the event only after the client has come with a position from the other bridge."""
    proxy = Proxy(redis.server.port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(proxy.run)
        url = redis.url.replace(f":{redis.server.port}/", f":{proxy.port}/")
        async with quick_bridge(url) as live, raw_client(live.url) as client:
            proxy.pause()
            after = finish(redis, "1")
            later = redis.add_event("http", "progress", "1", data="1")
            await client.send("subscribe-job", {"jobId": "1", "events": ["*"], "queue": "http", "after": after})
            await eventually(lambda: any(each.keys for each in live.bridge.clients.connected))
            proxy.resume()
            assert (await client.receive())["event"] == "ack"
            assert (await client.receive())["id"] == later
            await nothing_more(client)
        tasks.cancel_scope.cancel()


async def verified(client: RawClient, stream_id: str) -> Frame:
    """Return the first pong whose position has reached this entry."""
    with anyio.fail_after(EVENTUALLY_SECONDS):
        while True:
            pong = await nothing_more(client)
            if position(pong["data"]["after"].get("http", "0-0")) >= position(stream_id):
                return pong


def end_unseen(redis: Redis, *, trim: bool = True) -> str:
    """Complete job 1, and delete the event before it can be read. Return the id of the next entry.

    `trim` means that earlier entries are deleted, too.
    """
    pipe = redis.client.pipeline(transaction=True)
    pipe.lrem("bull:http:active", 0, "1")
    pipe.zadd("bull:http:completed", {"1": OLD})
    pipe.hset("bull:http:1", mapping={"finishedOn": time.time() * 1000, "returnvalue": "1"})
    pipe.xadd(EVENTS, {"event": "completed", "jobId": "1", "returnvalue": "1"})
    pipe.xadd(EVENTS, {"event": "active", "jobId": "2"})
    if trim:
        pipe.xtrim(EVENTS, maxlen=1, approximate=False)
        left: bytes = pipe.execute()[-2]
    else:
        pipe.eval(_DELETE_LAST_BUT_ONE, 1, EVENTS)
        left = pipe.execute()[-1]
    return left.decode()


_DELETE_LAST_BUT_ONE = """
local newest = redis.call("XREVRANGE", KEYS[1], "+", "-", "COUNT", 2)
redis.call("XDEL", KEYS[1], newest[2][1])
return newest[1][1]
"""


async def _never(*_: object) -> None:
    await anyio.sleep_forever()
