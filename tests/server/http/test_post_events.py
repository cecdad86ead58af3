"""`POST /events` (protocol.md, rule H8): the WebSocket's requests and frames over plain HTTP, as a stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import pytest

from jobws.server.bridge import RESTART
from jobws.server.http.websocket_over_http import POSITION_SECONDS
from jobws.server.intervals import Intervals
from tests.support import EVENTUALLY_SECONDS, eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client
from tests.support.event_source import frame_source, poll
from tests.support.http import call, connections
from tests.support.mounted import APPS, mounted_bridge
from tests.support.waiting import RESULT, is_free, subscribe

if TYPE_CHECKING:
    from tests.support.redis import Redis

IN_THREAD = anyio.to_thread.run_sync
pytestmark = pytest.mark.usefixtures("no_early_pong")


async def test_requests_and_frames_are_those_of_the_websocket(redis: Redis) -> None:
    redis.add_job("http", "1", state="active", progress='{"é":1}')
    requests: list[Any] = [
        {**subscribe(["1", ""], events=["*"]), "ref": "a"},
        {"event": "subscribe-job", "data": {"jobId": "2", "queue": "http"}, "ref": 2},
        {"event": "subscribe-job", "data": ""},
        {"event": "nope", "ref": 3},
        {"ref": True},
        "text",
        # Job 2 is not compared, since a WebSocket's messages may come before or after the answer to its subscription.
        {"event": "unsubscribe-job", "data": {"jobId": "3", "queue": "http"}},
    ]
    async with (
        live_bridge(redis.url) as live,
        raw_client(live.url, hello=False) as client,
        frame_source(live.url, requests) as source,
    ):
        assert source.status == 200
        assert source.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (source.headers["cache-control"], source.headers["x-accel-buffering"]) == ("no-store", "no")
        for request in requests:
            await client.send_raw(json.dumps(request))
        expected = [await client.receive() for _ in range(len(requests) + 1)]
        received = [await source.frame() for _ in expected]
        assert received[0] == expected[0]
        assert received[0]["event"] == "hello"
        assert sorted(map(json.dumps, received)) == sorted(map(json.dumps, expected))
        for event, job_id, fields in [
            ("progress", "1", {"data": '{\r\n "a": [1,\n\n2]}'}),
            ("completed", "2", {"returnvalue": "1"}),
            ('own","data":1\n\ndata: x', "1", {"x": "\u2028"}),
            ("completed", "1", {"returnvalue": '"\\ud800"'}),
        ]:
            redis.add_event("http", event, job_id, **fields)
        for _ in range(4):
            assert await source.frame() == await client.receive()


async def test_a_late_client_gets_its_outcome_and_one_that_returns_what_it_missed(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobws.server.http.websocket_over_http.POSITION_SECONDS", POSITION_SECONDS)
    finished = redis.add_event("http", "completed", "1", returnvalue="[1]")
    async with live_bridge(redis.url, intervals=Intervals(keep_alive_seconds=3600)) as live:
        async with frame_source(live.url, [subscribe(["1"], queue="http")]) as source:
            _, ack, outcome = [await source.frame() for _ in range(3)]
            assert "unknown" not in ack["data"]["results"][0]
            assert (outcome["id"], outcome["replayed"], outcome["data"]["returnvalue"]) == (finished, True, [1])
            position = await source.frame()
            # The position to return to. Without it, the outcome would be replayed.
            assert (position["event"], position["data"]["after"]["http"]) == ("pong", finished)
        redis.add_event("http", "progress", "1", data="7")
        again = subscribe(["1"], queue="http", after=finished, events=["*"])
        async with frame_source(live.url, [again]) as source:
            frames = [await source.frame() for _ in range(3)]
            assert frames[2]["data"]["data"] == 7


async def test_two_jobs_of_one_id_are_told_apart(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        queue = {"sub": "queue", "queue": "sparql"}
        requests = [{"event": "subscribe-job", "data": "1"}, {"event": "subscribe-queue", "data": queue}]
        async with frame_source(live.url, requests) as source:
            for _ in range(3):
                await source.frame()
            sent = [redis.add_event(queue, "completed", "1", returnvalue="1") for queue in ("http", "sparql")]
            frames = [await source.frame() for _ in range(3)]
            received = {(frame.get("sub"), frame["data"]["queue"], frame["id"]) for frame in frames}
            assert received == {(None, "http", sent[0]), (None, "sparql", sent[1]), ("queue", "sparql", sent[1])}


async def test_with_all_rooms_left_it_goes_on_and_is_kept_alive(redis: Redis) -> None:
    """Also for longer than a WebSocket may be silent, and while events come all the time."""
    redis.add_event("http", "completed", "1", returnvalue="1")
    async with live_bridge(redis.url, intervals=Intervals(keep_alive_seconds=0.2), silence_seconds=0.5) as live:
        async with frame_source(live.url, [subscribe(["1"], until="end")]) as source:
            events = [(await source.frame())["event"]]
            while events[-1] != "completed":
                events.append((await source.frame())["event"])
            assert [event for event in events if event != "pong"] == ["hello", "ack", "completed"]
            assert not live.bridge.fanout.rooms
            redis.add_event("http", "completed", "2", returnvalue="1")
            pongs = [await source.frame() for _ in range(4)]
            assert [pong["event"] for pong in pongs] == ["pong"] * 4
            assert pongs[-1]["data"]["after"] == {}
        async with frame_source(live.url, [subscribe(["1"], events=["progress"])]) as source:
            seen = set()
            while "pong" not in seen or "progress" not in seen:
                redis.add_event("http", "progress", "1", data="1")
                seen.add((await source.frame())["event"])


BAD: list[tuple[object, str, int, str, str]] = [
    ({"event": "ping"}, "", 400, "bad-data", "the body must be a list, not an object"),
    (b"5", "", 400, "bad-data", "the body must be a list, not a number"),
    (b"", "", 400, "bad-json", "the body is no JSON"),
    (b'[{"event":"ping"},', "", 400, "bad-json", "the body is no JSON"),
    (b"[NaN]", "", 400, "bad-json", "the body is no JSON"),
    (b'["\xff"]', "", 400, "bad-json", "the body must be JSON in UTF-8"),
    (b"[" * 200_000, "", 400, "too-deep", "the JSON is nested too deep"),
    ([0] * 1001, "", 400, "too-many", "the body may have 1000 requests, this one has 1001"),
    (["é" * 2**17], "", 413, "too-large", "a request may have 262144 bytes"),
    (["é" * 2**17], "", 413, "too-large", "a request may have 262144 bytes"),
    (['\ud800"' + "é" * 2**17], "", 400, "bad-json", "the body is no JSON (JSON is malformed"),
    (b"[" + b" " * 2**20 + b"]", "", 413, "too-large", "the body may have 1048576 bytes"),
    *(
        ([], f"?wait={wait}", 400, "bad-data", "`wait` must be a number of seconds from 0 to 55")
        for wait in ("", "nan", "inf", "-1", "55.1", "1e1", "x", "%D9%A3", "9" * 400)
    ),
    ([], "?wait=1&wait=2", 400, "bad-data", "`wait` was given twice"),
]


async def test_what_is_no_list_of_requests_is_a_problem(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        for body, query, status, code, detail in BAD:
            answer = await call("POST", f"{live.url}/events{query}", body)
            assert (answer[0], answer[1]["code"]) == (status, code), (str(body)[:40], query)
            assert answer[1]["detail"].startswith(detail), answer[1]["detail"]
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
            answer = await call("POST", f"{live.url}/events", [], content_type)
            assert (answer[0], answer[1]["code"]) == (415, "bad-content-type")
        assert is_free(live)


async def test_a_body_that_trickles_is_refused(redis: Redis) -> None:
    async with live_bridge(redis.url, intervals=Intervals(body_seconds=0.2)) as live:
        async with await anyio.connect_tcp("127.0.0.1", urlsplit(live.url).port or 0) as stream:
            head = b"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            await stream.send(head + b"Content-Length: 50\r\n\r\n[")
            with anyio.fail_after(EVENTUALLY_SECONDS):
                assert (await stream.receive()).startswith(b"HTTP/1.1 408")
        assert is_free(live)


async def test_foreign_pages_are_refused_and_allowed_ones_may_read(redis: Redis) -> None:
    async with live_bridge(redis.url, allowed_origins=("https://app.example",)) as live:
        async with frame_source(live.url, [], headers={"Origin": "https://app.example"}) as source:
            assert source.headers["access-control-allow-origin"] == "https://app.example"
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"X-Forwarded-For": "1.2.3.4"}):
            async with frame_source(live.url, [], headers=headers) as source:
                assert source.status == 403
        await eventually(lambda: is_free(live))


async def test_escaped_surrogates_spoil_only_their_own_request(redis: Redis) -> None:
    body = rb'[{"event":"subscribe-job","data":"\ud800","ref":1},{"event":"ping","ref":"\u00e9"}]'
    async with live_bridge(redis.url) as live:
        _, error, pong, _ = await poll(live.url, body)
        assert (error["data"]["code"], error["ref"], pong["ref"]) == ("bad-job-id", 1, "é")
        _, error, _ = await poll(live.url, ["\ud800" + "é" * 10_000])
        assert error["data"]["code"] == "not-an-object"


async def test_twenty_errors_end_it_as_a_websocket(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        queries: list[dict[str, Any]] = [{}, {"wait": "5"}]
        for query in queries:
            async with frame_source(live.url, [{"event": "ping"}, *[0] * 30, {"event": "ping"}], **query) as source:
                events = await source.rest()
            assert [event.data["event"] for event in events[:-1]] == ["hello", "pong", *["error"] * 20]
            assert events[-1].event == "close"
            assert events[-1].data == {"code": 4502, "reason": "20 errors within 10 s"}
        await eventually(lambda: is_free(live))


async def test_a_thousand_subscriptions_in_one_body_and_requests_are_read_no_faster_than_a_websockets(
    redis: Redis,
) -> None:
    jobs = [f"job-{number}" for number in range(1000)]
    for job_id in jobs:
        redis.add_event("http", "completed", job_id, returnvalue="1")
    async with live_bridge(redis.url) as live, raw_client(live.url) as other:
        await other.ask("subscribe-job", "other")
        async with frame_source(live.url, [subscribe(jobs, queue="http"), {"event": "ping"}]) as source:
            redis.add_event("http", "completed", "other", returnvalue="1")
            assert (await other.receive())["event"] == "completed"
            frames = [await source.frame() for _ in range(1003)]
            assert {frame["data"]["jobId"] for frame in frames if frame["event"] == "completed"} == set(jobs)
    async with live_bridge(redis.url, burst_messages=5, messages_per_second=10.0) as live:
        began = anyio.current_time()
        assert len(await poll(live.url, [{"event": "ping"}] * 10)) == 12
        assert anyio.current_time() - began >= 0.4


# ---- how it ends ----


async def test_a_client_that_leaves_is_gone_at_once(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        async with frame_source(live.url, [subscribe(["1"])]) as source:
            await source.frame()
            await eventually(lambda: len(live.bridge.clients.connected) == 1)
        await eventually(lambda: is_free(live))


async def test_a_client_that_takes_nothing_ends_alone(redis: Redis) -> None:
    jobs = [str(number) for number in range(60)]
    async with live_bridge(redis.url, outbox_bytes=512 * 1024) as live, raw_client(live.url) as good:
        await good.ask("subscribe-queue", "http")
        async with frame_source(live.url, [subscribe(jobs)]) as stalled:
            await stalled.frame()
            await eventually(lambda: len(live.bridge.fanout.rooms) == len(jobs) + 1)  # and the queue
            for job_id in jobs:
                redis.add_event("http", "completed", job_id, returnvalue=RESULT)
                assert (await good.receive())["data"]["jobId"] == job_id
            await eventually(lambda: len(live.bridge.clients.connected) == 1)
            with pytest.raises(Exception, match=r"peer closed|Connection"):  # noqa: PT012 - up to the cut
                while True:
                    await stalled.frame()


async def test_more_at_once_than_may_wait_ends_with_4000_for_a_client_that_reads(redis: Redis) -> None:
    jobs = [str(number) for number in range(20)]
    async with live_bridge(redis.url, outbox_bytes=256 * 1024) as live:
        async with frame_source(live.url, [subscribe(jobs)]) as source:
            for _ in range(2):
                await source.frame()
            pipe = redis.client.pipeline()
            for job_id in jobs:
                pipe.xadd("bull:http:events", {"event": "completed", "jobId": job_id, "returnvalue": RESULT})
            pipe.execute()
            events = await source.rest()
            assert events[-1].event == "close"
            assert events[-1].data == {"code": 4000, "reason": "the client reads too slowly"}
            assert [event.data["data"]["jobId"] for event in events[:-1]] == jobs[: len(events) - 1]
        await eventually(lambda: is_free(live))


async def test_a_bridge_that_ends_while_mounted_says_why(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        queries: list[dict[str, Any]] = [{}, {"wait": "30"}]
        for query in queries:
            async with frame_source(live.url, [subscribe(["1"])], **query) as source:
                for _ in range(2):
                    await source.frame()
                live.bridge.close_all(RESTART)
                (event,) = await source.rest()
                assert (event.event, event.data) == ("close", {"code": 1012, "reason": "the bridge restarts"})
        await eventually(lambda: is_free(live))


async def test_sigterm_ends_it_with_1012(redis: Redis) -> None:
    with BridgeProcess("--port", "0", "--redis", redis.url) as bridge:
        url = await IN_THREAD(bridge.started)
        async with frame_source(url, [subscribe(["1"])]) as source:
            await source.frame()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(IN_THREAD, bridge.terminate)
                assert (await source.rest())[-1].data["code"] == 1012
    assert not [line for line in bridge.lines if "Traceback" in line]


@pytest.mark.parametrize("kind", APPS)
async def test_under_asyncio_and_another_server(redis: Redis, kind: str) -> None:
    with mounted_bridge(redis.url, kind) as url:
        async with frame_source(url, [subscribe(["1"])]) as source:
            for _ in range(2):
                await source.frame()
            assert await IN_THREAD(connections, url) == 1
            redis.add_event("http", "completed", "1", returnvalue="1")
            assert (await source.frame())["event"] == "completed"
        await eventually(lambda: connections(url) == 0)
        assert [frame["event"] for frame in await poll(url, [subscribe(["1"])], "9")] == [
            *("hello", "ack", "completed", "pong")
        ]
