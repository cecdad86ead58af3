"""The Python client against a real bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
import trio
import trio.testing

from jobws.client import connect
from jobws.client.connection.transport import CONNECT_SECONDS
from jobws.errors import (
    ClientError,
    JobFailed,
    JobRemoved,
    JobUnknown,
    RefusedError,
    ResponseError,
    UnreachableError,
)
from jobws.protocol.http_resources import Acted
from jobws.server.bridge import RESTART
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import BridgeProcess, live_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_a_result_is_waited_for(redis: Redis) -> None:
    redis.add_job("http", "1")
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        assert jobs.hello.protocol == "jobws.v1"
        async with trio.open_nursery() as nursery:

            async def wait(job_id: str, expected: object) -> None:
                assert await jobs.wait(job_id, expect=True) == expected

            nursery.start_soon(wait, "1", [1])
            nursery.start_soon(wait, "2", None)
            nursery.start_soon(wait, "1", [1])
            await eventually(lambda: len(live.bridge.fanout.rooms) == 2)
            redis.add_event("http", "completed", "1", returnvalue="[1]")
            redis.add_event("http", "completed", "2", returnvalue="null")
        # A later wait still gets the result. No other call waits, and the bridge knows this.
        assert await jobs.wait("1", "http") == [1]
        await eventually(lambda: not live.bridge.fanout.rooms)


async def test_other_ends_are_exceptions(redis: Redis) -> None:
    redis.add_job("http", "bad", state="failed", finishedOn="1", failedReason="no such page")
    redis.add_job("http", "gone")
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        with pytest.raises(JobFailed, match="http/bad failed: no such page") as failed:
            await jobs.wait("bad")
        assert (failed.value.job_id, failed.value.queue, failed.value.reason) == ("bad", "http", "no such page")
        with pytest.raises(JobUnknown, match="no job http/nobody; if it is about to be added, wait with expect=True"):
            await jobs.wait("nobody", "http")
        with pytest.raises(ResponseError, match="no `queue` of that label") as refused:
            await jobs.wait("1", "nope")
        assert refused.value.code == "unknown-queue"
        with pytest.raises(ResponseError, match="it is empty"):
            await jobs.wait("")
        for wrong in (["x" * 65], ["\ud800"], "progress"):
            with pytest.raises(ResponseError) as refused:
                async with jobs.watch("1", events=wrong):
                    pass
            assert refused.value.code == "bad-events"
        with pytest.raises(ResponseError, match="`queue` must be valid Unicode text of at most 512 bytes"):
            await jobs.wait("1", "q" * 300_000)
        async with jobs.watch("gone") as events:
            assert events.snapshots["gone"][0]["state"] == "waiting"
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    with pytest.raises(JobRemoved):
                        await jobs.wait("gone")

                nursery.start_soon(wait)
                await eventually(lambda: len(live.bridge.fanout.rooms.of_job("http", "gone")) == 2)
                redis.add_event("http", "removed", "gone", prev="waiting")
            assert [event.event async for event in events] == ["removed"]


async def test_events_are_watched_until_the_outcome(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        async with jobs.watch(["7", 8], "http", events=["*"]) as events:
            told = [redis.add_event("http", "active", "7", prev="waiting")]
            told.append(redis.add_event("http", "completed", "7", returnvalue="1"))
            told.append(redis.add_event("http", "progress", "8", data="50"))
            told.append(redis.add_event("http", "failed", "8", failedReason="x"))
            redis.add_event("http", "progress", "8", data="51")
            assert [event.id async for event in events] == told
        async with jobs.watch("7", events=["active"]) as events:
            (only,) = [event async for event in events]
            assert (only.event, only.id, only.replayed) == ("completed", told[1], True)
        async with jobs.watch("nobody", expect=False) as events:
            assert [event.event async for event in events] == ["unknown"]


async def test_many_jobs_more_than_a_connection_may_subscribe(redis: Redis) -> None:
    count = 500
    for number in range(count):
        redis.add_event("http", "completed" if number % 2 else "failed", f"job-{number}", returnvalue=str(number))
    async with live_bridge(redis.url, max_subscriptions=50) as live, connect(live.url) as jobs:
        outcomes = {}
        async with jobs.wait_many([f"job-{number}" for number in range(count)], "http") as ended:
            async for job_id, outcome in ended:
                assert job_id not in outcomes
                outcomes[job_id] = outcome
        assert len(outcomes) == count
        assert outcomes["job-7"] == 7
        assert isinstance(outcomes["job-8"], JobFailed)


async def test_ids_that_two_queues_know_take_no_places_for_ever(redis: Redis) -> None:
    """The first outcome counts, although the bridge would send that of the other job, too."""
    ids = [str(number) for number in range(20)]
    for job_id in ids:
        redis.add_job("http", job_id)
        redis.add_job("analyzer", job_id)
    async with (
        live_bridge(redis.url, queues=("http", "analyzer"), max_subscriptions=4) as live,
        connect(live.url) as jobs,
        jobs.wait_many(ids) as ended,
    ):
        for job_id in ids:
            redis.add_event("http", "completed", job_id, returnvalue=job_id)
        with trio.fail_after(EVENTUALLY_SECONDS):
            assert sorted([job_id async for job_id, _ in ended]) == sorted(ids)
        await eventually(lambda: not live.bridge.fanout.rooms)


async def test_submit_and_lookup(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        submitted = await jobs.submit("http", {"n": 1}, name="näme", opts={"attempts": 2})
        (found,) = await jobs.lookup(submitted.job_id)
        assert (found["queue"], found["state"], found["name"]) == ("http", "waiting", "näme")
        assert await jobs.lookup("nobody") == []


async def test_actions(redis: Redis) -> None:
    redis.add_job("http", "a/b", state="failed")
    async with live_bridge(redis.url, allow_actions=True) as live, connect(live.url) as jobs:
        assert await jobs.act("retry", "http", "a/b") == Acted("http", "a/b")
        with pytest.raises(ResponseError) as refused:
            await jobs.act("promote", "http", "a/b")
        assert refused.value.code == "bad-state-for-action"
        redis.client.sadd("bull:http:a/b:dependencies", "bull:http:child")
        redis.add_job("http", "child")
        assert await jobs.act("remove", "http", "a/b", children=True) == Acted("http", "a/b")
        assert not redis.client.exists("bull:http:a/b", "bull:http:child")
        assert await jobs.act("pause", "http") == Acted("http")
        assert await jobs.act("retry-failed", "http") == Acted("http", failed=0)
        assert await jobs.act("resume", "http") == Acted("http")
        redis.add_job("http", "later", state="delayed")
        assert await jobs.act("promote", "http", "later") == Acted("http", "later")
    async with live_bridge(redis.url) as live, connect(live.url) as jobs:
        with pytest.raises(RefusedError, match="this bridge takes no actions: it has neither keys nor --allow-actions"):
            await jobs.act("resume", "http")


async def test_a_result_that_is_too_large_for_an_event_is_fetched(redis: Redis) -> None:
    """Also if the job was removed on completion, while the stream has the event."""
    large = 2000 * "x"
    async with live_bridge(redis.url, max_result_bytes=1000) as live, connect(live.url) as jobs:
        redis.add_job("http", "1", state="completed", finishedOn="1", returnvalue=f'"{large}"')
        assert await jobs.wait("1", "http") == large
        added = redis.add_event("http", "completed", "2", returnvalue=f'"{large}"')
        assert await jobs.wait("2", "http") == large
        (whole,) = await jobs.lookup("2", "http", event=added)
        assert whole == {"event": "completed", "queue": "http", "jobId": "2", "returnvalue": large}
        with pytest.raises(ResponseError) as refused:
            await jobs.lookup("2", "http", event="1-0")
        assert refused.value.code == "gone"


async def test_a_bridge_that_restarts_is_not_noticed(redis: Redis) -> None:
    redis.add_job("http", "1")
    redis.add_job("http", "2")
    with BridgeProcess("--port", "0", "--redis", redis.url) as first:
        url = await anyio.to_thread.run_sync(first.started)
        async with connect(url) as jobs, jobs.watch("1", events=["*"]) as events, trio.open_nursery() as nursery:
            told = [redis.add_event("http", "progress", "1", data="1")]
            assert (await anext(events)).id == told[0]
            results = []
            ended = trio.Event()

            async def wait() -> None:
                results.append(await jobs.wait("2"))
                ended.set()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked(0.1)
            await anyio.to_thread.run_sync(first.terminate)
            told.append(redis.add_event("http", "progress", "1", data="2"))
            redis.add_event("http", "completed", "2", returnvalue="2")
            told.append(redis.add_event("http", "completed", "1", returnvalue="3"))
            port = url.rpartition(":")[2]
            with BridgeProcess("--port", port, "--redis", redis.url) as second:
                await anyio.to_thread.run_sync(second.started)
                assert [event.id async for event in events] == told[1:]
                await ended.wait()
        assert results == [2]


async def test_a_lost_connection_costs_nothing(redis: Redis) -> None:
    redis.add_job("http", "1")
    async with (
        live_bridge(redis.url) as live,
        connect(live.url) as jobs,
        jobs.watch("1", events=["progress"]) as events,
    ):
        told = []
        for number in range(5):
            told.append(redis.add_event("http", "progress", "1", data=str(number)))
            live.bridge.close_all(RESTART)
            told.append(redis.add_event("http", "progress", "1", data=str(number)))
        told.append(redis.add_event("http", "completed", "1", returnvalue="3"))
        assert [event.id async for event in events] == told


async def test_errors_say_what_happened(redis: Redis) -> None:
    with pytest.raises(UnreachableError, match="expected http://host:port"):
        async with connect("ftp://x"):
            pass
    with pytest.raises(UnreachableError, match=r"no bridge at ws://127\.0\.0\.1:1/ws"):
        async with connect("http://127.0.0.1:1"):
            pass
    async with live_bridge(redis.url) as live:
        with pytest.raises(UnreachableError, match="status 403"):
            async with connect(live.url + "/elsewhere"):
                pass


def test_elsewhere_than_on_trio_one_sentence_says_what_to_use() -> None:
    async def main() -> None:
        async with connect("http://127.0.0.1:1"):
            pass

    with pytest.raises(ClientError, match=r"use jobws\.sync\.connect"):
        anyio.run(main, backend="asyncio")


async def test_an_exception_of_the_body_comes_out_alone(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        for error in (ZeroDivisionError, KeyboardInterrupt):
            with pytest.raises(error):
                async with connect(live.url) as jobs, jobs.watch("1"):
                    raise error


async def test_cancelling_leaves_no_task(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        with trio.move_on_after(0.3) as scope:
            async with connect(live.url) as jobs:
                await jobs.wait("1", expect=True)
        assert scope.cancelled_caught
        async with connect(live.url) as jobs:
            with trio.move_on_after(0.1) as scope:
                await jobs.wait("1", expect=True)
            assert scope.cancelled_caught
            await eventually(lambda: not live.bridge.fanout.rooms)


async def test_whoever_outlives_the_client_is_told(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(ClientError, match="this client is closed"):
                await jobs.wait("1", expect=True)

        async with connect(live.url) as jobs:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_connection_that_ends_during_the_handshake_is_not_waited_for(reset: bool) -> None:
    """This happens with a proxy whose bridge is down."""

    async def end(stream: trio.SocketStream) -> None:
        await stream.receive_some(1 if reset else None)  # unread bytes make it a reset
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, end, [listener])
        port = listener.socket.getsockname()[1]
        with (
            trio.fail_after(CONNECT_SECONDS - 1),
            pytest.raises(UnreachableError, match="before the handshake was answ"),
        ):
            async with connect(f"http://127.0.0.1:{port}"):
                pass
        nursery.cancel_scope.cancel()
