"""Log lines of real workers, from their job to a WebSocket, and what lines cost that no client asked for."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
import trio

from jobws.access.caller import ANYONE
from jobws.protocol.server_sent_events import parts_of
from jobws.server.intervals import USUAL_INTERVALS, Intervals
from jobws.server.jobs import job_log_schedule
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import live_bridge
from tests.support.client import RawClient, raw_client
from tests.support.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bridge import Live
    from tests.support.redis import Redis

WITH_LOGS = {"jobId": "j", "queue": "http", "logs": True, "until": "end"}
KINDS = pytest.mark.parametrize("kind", ["python", "node"])


async def logger(kind: str, redis: Redis) -> Logger:
    return await anyio.to_thread.run_sync(partial(Logger, kind, redis, "http"))


async def received(client: RawClient, last: str) -> list[Any]:
    """Return the lines, and the names of other events, up to the line or event `last`."""
    items: list[Any] = []
    while last not in items:
        frame = await client.receive()
        items += frame["data"]["lines"] if frame["event"] == "job-log" else [frame["event"]]
        assert "gap" not in frame["data"]
    return items


@KINDS
@pytest.mark.parametrize("opts", [{}, {"keepLogs": 5}], ids=["plain", "keepLogs"])
async def test_lines_come_in_order_once_and_before_the_outcome(redis: Redis, kind: str, opts: dict[str, Any]) -> None:
    with await logger(kind, redis) as worker:
        async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
            await client.ask("subscribe-job", WITH_LOGS)
            await worker.tell(add={"jobId": "j", **opts})
            lines = [f"line {number}\n💥" for number in range(12)]
            for line in lines[:8]:
                await worker.tell(log=line)
                assert await received(client, line) == [line]
            # Lines that are written just before the end are not lost, if no more are written than the list keeps.
            for line in lines[8:]:
                await worker.tell(log=line)
            await worker.tell(end=1)
            assert await received(client, "completed") == [*lines[8:], "completed"]


async def test_lines_of_a_log_that_is_cleared(redis: Redis) -> None:
    with await logger("node", redis) as worker:
        async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
            await client.ask("subscribe-job", WITH_LOGS)
            await worker.tell(add={"jobId": "j"})
            for line in "abc":
                await worker.tell(log=line)
            assert await received(client, "c") == ["a", "b", "c"]
            await worker.tell(clear=1)
            await worker.tell(log="d")
            assert await received(client, "d") == ["d"]
            await worker.tell(clear=0)
            await seen_empty(live.bridge, client)
            for line in "cd":
                await worker.tell(log=line)
            assert await received(client, "d") == ["c", "d"]
            await worker.tell(end=1)
            assert await received(client, "completed") == ["completed"]


async def seen_empty(bridge: Any, client: RawClient) -> None:
    """Wait until the bridge has seen that the list is empty."""
    followers = bridge.fanout.job_logs.followers[b"j"]
    while any(following.readers["http"].position.end for following in followers.values()):
        await client.ask("ping")


@KINDS
async def test_lines_of_a_job_that_is_removed_at_its_end(redis: Redis, kind: str) -> None:
    with await logger(kind, redis) as worker:
        async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
            await client.ask("subscribe-job", WITH_LOGS)
            await worker.tell(add={"jobId": "j", "removeOnComplete": True})
            for line in "abc":
                await worker.tell(log=line)
                assert await received(client, line) == [line]
            await worker.tell(log="never read", end=1)
            frames = await client.until("completed")
            assert [frame["data"]["lines"] for frame in frames[:-1]] in ([], [["never read"]])


async def test_a_client_that_comes_after_the_end_gets_the_lines_and_then_the_outcome(redis: Redis) -> None:
    with await logger("python", redis) as worker:
        await worker.tell(add={"jobId": "j"})
        for line in "abc":
            await worker.tell(log=line)
        await worker.tell(end=1)
    # From the stream, and from the hash.
    for trimmed in (False, True):
        if trimmed:
            redis.client.delete("bull:http:events")
        async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
            await client.ask("subscribe-job", WITH_LOGS)
            assert await received(client, "completed") == ["a", "b", "c", "completed"]


async def test_a_returning_client_gets_what_it_had_not(redis: Redis) -> None:
    redis.add_job("http", "j", state="active")
    redis.client.rpush("bull:http:j:logs", "a", "b")
    async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", WITH_LOGS)
        position = (await client.receive())["data"]["position"]
    redis.client.rpush("bull:http:j:logs", "c", "d")
    redis.client.ltrim("bull:http:j:logs", -3, -1)
    async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**WITH_LOGS, "logs": {"after": position}})
        frame = await client.receive()
        assert (frame["data"]["lines"], frame["data"]["first"]) == (["c", "d"], 2)


async def test_lines_of_a_queue_without_events(redis: Redis) -> None:
    redis.client.hset("bull:http:meta", "opts.maxLenEvents", 0)
    async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", WITH_LOGS)
        redis.add_job("http", "j", state="active")
        redis.client.rpush("bull:http:j:logs", "a")
        assert await received(client, "a") == ["a"]
        redis.client.rpush("bull:http:j:logs", "b")
        redis.client.lrem("bull:http:active", 0, "j")
        redis.client.hset("bull:http:j", mapping={"returnvalue": "1", "finishedOn": "1795435730000"})
        redis.client.zadd("bull:http:completed", {"j": 1795435730000})
        assert await received(client, "completed") == ["b", "completed"]


async def test_a_client_of_many_jobs_gets_all_their_lines_at_its_own_pace(redis: Redis) -> None:
    """The lines are forty times a quarter of a megabyte, and must not fill the outbox of four megabytes."""
    names = [f"j{number}" for number in range(40)]
    for name in names:
        redis.add_job("http", name, state="completed", returnvalue="1", finishedOn=1795435730000)
        redis.client.rpush(f"bull:http:{name}:logs", *(f"{number:01000}" for number in range(240)))
    async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {"jobs": names, "queue": "http", "logs": True})
        lines = dict.fromkeys(names, 0)
        ended: set[str] = set()
        while len(ended) < len(names):
            data = (frame := await client.receive())["data"]
            if frame["event"] == "job-log":
                assert data["jobId"] not in ended
                assert data["first"] == lines[data["jobId"]]
                lines[data["jobId"]] += len(data["lines"])
            else:
                assert lines[data["jobId"]] == 240
                ended.add(data["jobId"])


async def test_an_outcome_waits_for_a_client_that_takes_its_lines_slowly(
    redis: Redis,
) -> None:
    """There are more lines than the outbox may hold. The rest comes before the outcome, however long this takes."""
    intervals = Intervals(job_log_hold_seconds=3 * job_log_schedule.FAST_SECONDS)
    redis.add_job("http", "j", state="active")
    async with live_bridge(redis.url, intervals=intervals, queues=("http",)) as live:
        with live.bridge.service.client(None, ANYONE, None) as client:
            outbox = client.hub_client.outbox
            await client.subscribe(WITH_LOGS)
            await eventually(lambda: knows_the_list(live))
            client.take()
            redis.client.rpush("bull:http:j:logs", *(f"{number:01000}" for number in range(5000)))
            await eventually(lambda: not outbox.below_low_water)
            redis.add_event("http", "completed", "j", returnvalue="1")
            await eventually(lambda: bool(live.bridge.fanout.job_logs.draining))
            await trio.sleep(4 * intervals.job_log_hold_seconds)
            lines, events = 0, list[str]()
            with trio.fail_after(EVENTUALLY_SECONDS):
                while not events:
                    await client.wait()
                    for parts in map(parts_of, client.take()):
                        if parts.event == "job-log":
                            lines += len(json.loads(parts.data)["lines"])
                        else:
                            events.append(parts.event)
                    client.written()
            assert (lines, events) == (5000, ["completed"])


async def test_a_lost_connection_to_redis_costs_no_line(redis: Redis) -> None:
    redis.add_job("http", "j", state="active")
    async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", WITH_LOGS)
        for line in "abc":
            redis.client.rpush("bull:http:j:logs", line)
            assert await received(client, line) == [line]
            redis.client.client_kill_filter(_type="normal", skipme=True)


async def test_without_redis_the_outcome_comes_all_the_same(
    own_redis: Callable[..., Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = own_redis()
    redis.add_job("http", "j", state="active")
    async with live_bridge(redis.url, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", WITH_LOGS)
        redis.client.rpush("bull:http:j:logs", "a")
        assert await received(client, "a") == ["a"]
        never = trio.Event()

        async def ask(_question: object) -> list[Any]:
            await never.wait()
            return []

        monkeypatch.setattr(live.bridge._job_log_store, "ask", ask)
        redis.client.rpush("bull:http:j:logs", "b")
        began = trio.current_time()
        redis.add_event("http", "completed", "j", returnvalue="1")
        assert await received(client, "completed") == ["completed"]
        waited = trio.current_time() - began
        assert USUAL_INTERVALS.job_log_hold_seconds <= waited < USUAL_INTERVALS.job_log_hold_seconds + 20


async def test_while_redis_refuses_to_tell_lines_the_outcome_waits(own_redis: Callable[..., Redis]) -> None:
    """An error does not mean an empty list. BUSY, while a script runs, has the same effect as NOPERM."""
    redis = own_redis()
    redis.add_job("http", "j", state="active")
    patient = Intervals(job_log_hold_seconds=job_log_schedule.MAX_HOLD_SECONDS)
    async with (
        live_bridge(redis.url, queues=("http",), intervals=patient) as live,
        raw_client(live.url) as client,
    ):
        await client.ask("subscribe-job", WITH_LOGS)
        await quiet(live.bridge)  # the bridge knows that the list is empty
        redis.client.acl_setuser("default", enabled=True, commands=["-lrange"])
        redis.client.rpush("bull:http:j:logs", "a")
        redis.add_event("http", "completed", "j", returnvalue="1")
        await eventually(lambda: bool(redis.client.acl_log()))
        redis.client.acl_setuser("default", enabled=True, commands=["+lrange"])
        assert await received(client, "completed") == ["a", "completed"]


async def test_many_jobs_with_long_lines_are_not_all_looked_at_at_once(redis: Redis) -> None:
    """Whatever is known of other jobs.

    Otherwise one read takes more than a second, and outcomes come before its lines.
    """
    for number in range(120):
        redis.add_job("http", f"j{number}", state="active")
    rooms = [{**WITH_LOGS, "jobId": f"j{number}"} for number in range(120)]
    patient = Intervals(job_log_hold_seconds=job_log_schedule.MAX_HOLD_SECONDS)
    async with (
        live_bridge(redis.url, queues=("http",), intervals=patient) as live,
        raw_client(live.url) as client,
    ):
        await client.ask("subscribe-job", rooms[20:])  # jobs without lines, all of which fit into one read
        await quiet(live.bridge, "j119")
        pipe = redis.client.pipeline()
        for number in range(20):
            pipe.rpush(f"bull:http:j{number}:logs", *["x" * 65_536] * 16)
        pipe.execute()
        sizes, new, begun = [], [], {f"j{number}" for number in range(20, 120)}
        store = live.bridge._job_log_store
        ask = store.ask

        async def seen(query: Any) -> Any:
            jobs = {each.job_id for each in query.slices}
            new.append(len(jobs - begun))
            begun.update(jobs)
            answers = await ask(query)
            sizes.append(sum(len(line) for answer in answers if answer is not None for line in answer[0]))
            return answers

        store.ask = seen  # type: ignore[method-assign]
        await client.send("subscribe-job", rooms[:20])
        for number in range(20):
            redis.add_event("http", "completed", f"j{number}", returnvalue="1")
        lines, ended = 0, 0
        while ended < 20:
            frame = await client.receive()
            lines += len(frame["data"]["lines"]) if frame["event"] == "job-log" else 0
            ended += frame["event"] == "completed"
        assert lines == 20 * 16
        assert max(new) <= 8
        # A list is read again if the client's outbox was full when the lines came, but never all together.
        assert max(sizes) < 20 * 16 * 65_536


def reads(redis: Redis) -> int:
    """Return how many commands Redis got that only reads of lines send."""
    stats = redis.client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("llen", "lrange"))


async def test_lines_that_nobody_asked_for_cost_redis_nothing(redis: Redis) -> None:
    """The test counts commands. Subscribing reads the list of active jobs once."""
    redis.add_job("http", "j", state="active")
    redis.client.rpush("bull:http:j:logs", "a")
    async with live_bridge(redis.url, progress_ms=0, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {"jobId": "j", "queue": "http", "events": ["*"]})

        async def events_cost_nothing() -> None:
            redis.client.config_resetstat()
            for number in range(20):
                redis.add_event("http", "progress", "j", data=str(number))
            for _ in range(20):
                assert (await client.receive())["event"] == "progress"
            await trio.sleep(4 * job_log_schedule.FAST_SECONDS)
            assert reads(redis) == 0

        await events_cost_nothing()
        async with raw_client(live.url) as other:
            await other.ask("subscribe-job", WITH_LOGS)
            assert await received(other, "a") == ["a"]
            assert reads(redis) > 1
        while live.bridge.fanout.job_logs.followers:
            await client.ask("ping")
        await events_cost_nothing()


async def test_a_job_with_many_events_is_not_looked_at_for_each(redis: Redis) -> None:
    redis.add_job("http", "j", state="active")
    async with live_bridge(redis.url, progress_ms=0, queues=("http",)) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {**WITH_LOGS, "events": ["progress"]})

        def work() -> None:
            for number in range(500):
                redis.add_event("http", "progress", "j", data=str(number))

        await quiet(live.bridge)
        redis.client.config_resetstat()
        began = trio.current_time()
        await anyio.to_thread.run_sync(work)
        for _ in range(500):
            await client.receive()
        looks = reads(redis)
        assert 1 <= looks <= 2 + (trio.current_time() - began) / job_log_schedule.SPACING_SECONDS


async def test_many_who_watch_one_job_cost_as_much_as_one(redis: Redis) -> None:
    redis.add_job("http", "j", state="active")
    redis.client.rpush("bull:http:j:logs", "a")
    async with live_bridge(redis.url, queues=("http",)) as live, trio.open_nursery() as nursery:
        clients = []
        for _ in range(10):
            client = await nursery.start(_keep, live.url)
            await client.ask("subscribe-job", WITH_LOGS)
            assert await received(client, "a") == ["a"]
            clients.append(client)
        await quiet(live.bridge)
        redis.client.config_resetstat()
        redis.client.rpush("bull:http:j:logs", "b")
        redis.add_event("http", "progress", "j", data="1")
        for client in clients:
            assert await received(client, "b") == ["b"]
        assert reads(redis) <= 3
        nursery.cancel_scope.cancel()


def knows_the_list(live: Live) -> bool:
    """Whether the first read of job j's lines is over.

    Until then, the list may have no more lines than a subscription gets at first.
    """
    followings = live.bridge.fanout.job_logs.followers.get(b"j", {}).values()
    return any(not reader.searching for following in followings for reader in following.readers.values())


async def quiet(bridge: Any, job_id: str = "j") -> None:
    """Wait until the bridge reads the job's lines rarely."""

    def reads_rarely() -> bool:
        times = bridge._job_log_poller._read_times.get(("http", job_id))  # None until the first read
        return times is not None and times.pause >= job_log_schedule.SLOW_SECONDS

    await eventually(reads_rarely)


async def _keep(url: str, task_status: Any) -> None:
    async with raw_client(url) as client:
        task_status.started(client)
        await trio.sleep_forever()
