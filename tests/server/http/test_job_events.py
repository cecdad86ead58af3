"""`GET /events` (protocol.md, rule H7): the WebSocket's events for `EventSource`, also for a client that returns with
an id.
"""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import anyio
import anyio.to_thread
import pytest

from jobws.protocol.identifiers import position
from jobws.protocol.server_sent_events import encode_position
from jobws.server.bridge import RESTART
from jobws.server.intervals import Intervals
from tests.support import eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client
from tests.support.event_source import Event, cursor_of, event_source
from tests.support.http import call, connections
from tests.support.mounted import APPS, mounted_bridge
from tests.support.waiting import is_free

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis

IN_THREAD = anyio.to_thread.run_sync
OLD = 1_000_000_000_000
QUICK = Intervals(keep_alive_seconds=0.1)


async def test_events_are_those_of_the_websocket_and_ids_are_the_lowest_positions(redis: Redis) -> None:
    redis.add_job("http", "1", state="active", progress='{"é":1}')
    recorded = [("http", "1", "completed", '{"a":[1,"💥\\u2028"]}'), ("sparql", "1", "completed", "null")]
    async with (
        live_bridge(redis.url, intervals=QUICK) as live,
        raw_client(live.url) as client,
        event_source(live.url, ["1", "2"], events="*") as source,
    ):
        assert (source.status, source.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        first = await source.receive()
        ack = await client.ask("subscribe-job", {"jobs": ["1", "2"], "events": ["*"]})
        assert (first.event, first.data) == ("ack", ack["data"])
        assert cursor_of(first.id) == {"http": "0-0"}
        assert source.parser.retry == 1000
        received: dict[str, str] = {}
        for queue, job_id, event, value in [*recorded, ("http", "2", "mine:own", "x"), ("http", "2", "failed", "")]:
            field = {"completed": "returnvalue", "failed": "failedReason"}.get(event, "text")
            sent = redis.add_event(queue, event, job_id, prev="active", **{field: value})
            frame, here = await client.receive(), await source.receive()
            assert (here.event, here.data, frame["id"]) == (frame["event"], frame["data"], sent)
            received[queue] = sent
            assert all(position(reached) <= position(sent) for reached in cursor_of(source.parser.last_id).values())
        while cursor_of(source.parser.last_id) != received:
            await source.position()


async def test_only_what_was_asked_for_comes(redis: Redis) -> None:
    async with (
        live_bridge(redis.url) as live,
        event_source(live.url, "1", queue="http", events="active,failed") as source,
    ):
        assert list(cursor_of((await source.receive()).id)) == ["http"]
        for queue, event, job_id in [
            *(("sparql", "failed", "1"), ("http", "failed", "2"), ("http", "completed", "1")),
            *(("http", "active", "1"), ("http", "failed", "1")),
        ]:
            redis.add_event(queue, event, job_id)
        assert [(await source.receive()).event for _ in range(2)] == ["active", "failed"]
        assert list(cursor_of(source.parser.last_id)) == ["http"]


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_client_that_comes_back_gets_what_happened_since(redis: Redis, by_header: bool) -> None:
    async with live_bridge(redis.url, intervals=QUICK) as live:
        async with event_source(live.url, "1", events="progress,completed") as source:
            await source.receive()
            await source.position()
            redis.add_event("http", "progress", "1", data="1")
            assert (await source.receive()).data["data"] == 1
        for value in "23":
            redis.add_event("http", "progress", "1", data=value)
        redis.add_event("http", "completed", "1", returnvalue="4")
        last = source.parser.last_id
        old = encode_position({"http": "0-0"})  # the page put this into the URL, before the browser connected again
        again: Any = {"headers": {"Last-Event-ID": last}, "lastEventId": old} if by_header else {"lastEventId": last}
        async with event_source(live.url, "1", events="progress,completed", **again) as source:
            (result,) = (await source.receive()).data["results"]
            assert result.get("gap") is None
            events = [await source.receive() for _ in range(3)]
            assert [event.data.get("data", event.data.get("returnvalue")) for event in events] == [2, 3, 4]


async def test_a_position_that_redis_has_not_any_more_is_a_gap(redis: Redis) -> None:
    for number in range(3):
        redis.add_entry("http", {b"event": b"waiting", b"jobId": b"9"}, stream_id=f"{OLD + number}-0")
    redis.client.xtrim("bull:http:events", maxlen=1, approximate=False)
    async with live_bridge(redis.url) as live:
        last = encode_position(dict.fromkeys(live.bridge.service.labels, f"{OLD - 1}-0"))
        async with event_source(live.url, "1", queue="http", headers={"Last-Event-ID": last}) as source:
            assert (await source.receive()).data["results"][0]["gap"] is True


async def test_outcomes_of_the_past_come_from_stream_and_hash(redis: Redis) -> None:
    redis.add_event("http", "completed", "gone", returnvalue='{"only":"here"}')
    redis.add_job("http", "kept", state="failed", finishedOn=OLD, failedReason="no such page")
    async with live_bridge(redis.url) as live, event_source(live.url, ["gone", "kept"], queue="http") as source:
        ack, first, second = [await source.receive() for _ in range(3)]
        assert (first.event, first.data["returnvalue"]) == ("completed", {"only": "here"})
        assert (second.event, second.data["failedReason"]) == ("failed", "no such page")
        # Until both came, a client that returns must get both again.
        assert cursor_of(ack.id) == cursor_of(first.id) == {"http": "0-0"}
        assert cursor_of(second.id)["http"] != "0-0"
        async with event_source(
            live.url, ["gone", "kept"], queue="http", headers={"Last-Event-ID": source.parser.last_id}
        ) as again:
            results = (await again.receive()).data["results"]
            assert [result.get("unknown") for result in results] == [True, None]


async def test_a_cut_while_much_is_read_back_loses_no_outcome(redis: Redis) -> None:
    """Events of a live job overtake replays of others, so their id must not cover the replays."""
    jobs = [f"old-{number}" for number in range(40)]
    for job_id in jobs:
        redis.add_event("http", "completed", job_id, returnvalue='"' + "x" * 100_000 + '"')
    async with live_bridge(redis.url, outbox_bytes=400_000) as live:
        got: set[str] = set()
        async with event_source(live.url, [*jobs, "new"], queue="http", events="progress,completed") as source:
            await source.receive()
            for number in range(20):
                redis.add_event("http", "progress", "new", data=number)
            got = {event.data["jobId"] for event in await source.until("progress")} - {"new"}
        assert len(got) < 40, "it was not cut in the midst"
        headers = {"Last-Event-ID": source.parser.last_id}
        async with event_source(live.url, [*jobs, "new"], queue="http", headers=headers) as source:
            await source.receive()
            while got != set(jobs):
                got.add((await source.receive()).data["jobId"])


async def test_line_ends_in_json_and_in_names_end_nothing(redis: Redis) -> None:
    values = [
        '{\n  "a": 1,\r\n\r\n "data: x":\r[1,\n\n2]}',
        '"\u2028\u2029\\n\\r"',
        "\n5",
        '{"event":"x","id":"1-0","data":{}}',
    ]
    async with live_bridge(redis.url) as live, event_source(live.url, '"\n,"data":{', events="*") as source:
        await source.receive()
        for value in values:
            redis.add_event("http", "completed", '"\n,"data":{', returnvalue=value)
            event = await source.receive()
            assert (event.event, event.data["returnvalue"]) == ("completed", json.loads(value))
            assert event.data["jobId"] == '"\n,"data":{'
        redis.add_event("http", 'own","data":1\r\n\ndata: evil\n\nevent: failed', '"\n,"data":{', x=1)
        event = await source.receive()
        assert (event.event, event.data["x"]) == ('own","data":1 data: evil event: failed', "1")


async def test_with_until_end_the_stream_ends_and_a_browser_that_comes_back_gets_nothing_twice(redis: Redis) -> None:
    redis.add_event("http", "completed", "1", returnvalue="1")
    async with live_bridge(redis.url) as live:
        async with event_source(live.url, ["1", "2"], queue="http", until="end", events="failed") as source:
            assert (await source.receive()).event == "ack"
            redis.add_event("http", "failed", "2", failedReason="x")
            assert sorted(event.data["jobId"] for event in await source.rest()) == ["1", "2"]
        headers = {"Last-Event-ID": source.parser.last_id}
        async with event_source(live.url, ["1", "2"], queue="http", until="end", headers=headers) as source:
            assert [event.event for event in await source.rest()] == ["ack"]
        async with event_source(live.url, ["1", "2"], queue="http", until="end") as source:
            assert [event.event for event in await source.rest()] == ["ack", "completed", "failed"]
        headers = {"Last-Event-ID": source.parser.last_id}
        async with event_source(live.url, ["1", "2"], queue="http", until="end", headers=headers) as source:
            assert [event.event for event in await source.rest()] == ["ack"]
        await eventually(lambda: is_free(live))


async def test_a_whole_queue_is_followed_and_one_that_returns_misses_nothing(redis: Redis) -> None:
    async with live_bridge(redis.url, queues=("http", "sparql")) as live:
        async with event_source(live.url, queue="http", events="*,queue-stats") as source:
            assert (await source.receive()).event == "ack"
            stats = await source.receive()
            assert (stats.event, stats.data["queue"], stats.moves) == ("queue-stats", "http", False)
            sent = redis.add_event("http", "drained", None)
            drained = (await source.until("drained"))[-1]
            assert (drained.data, cursor_of(drained.id)) == ({"queue": "http"}, {"http": sent})
        missed = [redis.add_event("http", "failed", "1", failedReason="x"), redis.add_event("sparql", "failed", "2")]
        headers = {"Last-Event-ID": drained.id}
        async with event_source(live.url, queue="http", events="failed", headers=headers) as source:
            ack, failed = [await source.receive() for _ in range(2)]
            assert (ack.event, failed.event, cursor_of(failed.id)) == ("ack", "failed", {"http": missed[0]})
        async with event_source(live.url, queue="*", headers=headers) as source:
            ack, first, second = [await source.receive() for _ in range(3)]
            assert [first.data["queue"], second.data["queue"]] == ["http", "sparql"]
            assert cursor_of(second.id) == {"http": missed[0], "sparql": missed[1]}
        await eventually(lambda: is_free(live))


BAD: list[tuple[str, dict[str, str], int, str, str]] = [
    ("", {}, 400, "bad-data", "`job`: expected ?job=, the id of a job, once or several times, or ?queue= alone"),
    ("queue=http&until=end", {}, 400, "bad-data", "`until` needs ?job=: a whole queue has no end and no log"),
    ("queue=http&logs=1", {}, 400, "bad-data", "`logs` needs ?job=: a whole queue has no end and no log"),
    ("queue=nope", {}, 404, "unknown-queue", "this bridge has no `queue` of that label"),
    ("job=1&queue=*", {}, 404, "unknown-queue", "this bridge has no `queue` of that label"),
    ("job=", {}, 400, "bad-job-id", "bad job id: it is empty"),
    ("job=1&job=meta", {}, 400, "bad-job-id", 'bad job id: "meta" is the name of one of BullMQ'),
    ("job=" + "x" * 513, {}, 400, "bad-job-id", "bad job id: it has 513 bytes"),
    ("job=%FF", {}, 400, "bad-data", "the query must be UTF-8, percent-encoded"),
    ("job=1&queue=nope", {}, 404, "unknown-queue", "this bridge has no `queue` of that label"),
    ("job=1&queue=http&queue=http", {}, 400, "bad-data", "`queue` was given twice"),
    ("job=1&events=", {}, 400, "bad-events", "each of `events` must be a non-empty string"),
    ("job=1&events=" + "x," * 32 + "x", {}, 400, "bad-events", "`events` may name 32 events at most"),
    ("job=1&until=then", {}, 400, "bad-until", '`until` can only be "end"'),
    ("job=1&lastEventId=1-0", {}, 400, "bad-after", "`Last-Event-ID` must be the `id` of an event of this stream"),
    ("job=1", {"Last-Event-ID": "é💥".encode().decode("latin-1")}, 400, "bad-after", "`Last-Event-ID` must be the"),
    ("job=1", {"Last-Event-ID": "WzFd"}, 400, "bad-after", "`Last-Event-ID` must be the"),
    ("job=1", {"Last-Event-ID": encode_position({"http": "now"})}, 400, "bad-after", "`after` must hold positions"),
    ("&".join(f"job={n}" for n in range(11)), {}, 400, "too-many", "a list may have 10 items, this one has 11"),
]


async def test_what_is_wrong_is_a_problem_and_no_stream(redis: Redis) -> None:
    async with live_bridge(redis.url, max_subscriptions=10) as live:
        for query, headers, status, code, detail in BAD:
            named = {name.replace("-", "_"): value for name, value in headers.items()}
            answer = await call("GET", f"{live.url}/events?{query}", **named)
            assert (answer[0], answer[1]["code"]) == (status, code), query
            assert answer[1]["detail"].startswith(detail), answer[1]["detail"]
        assert is_free(live)


async def test_a_question_for_the_head_ends_at_once(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, event_source(live.url, "1") as source:
        parts = urlsplit(live.url)
        async with await anyio.connect_tcp(parts.hostname or "", parts.port or 0) as stream:
            head = type(source)(stream)
            await head.ask("/events?job=1", {}, "HEAD")
            assert (head.status, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert len(live.bridge.clients.connected) == 1


async def test_pages_of_allowed_origins_may_read_it(redis: Redis) -> None:
    async with live_bridge(redis.url, allowed_origins=("https://app.example",)) as live:
        for origin, allowed in (("https://app.example", "https://app.example"), ("https://evil.example", None)):
            async with event_source(live.url, "1", headers={"Origin": origin}) as source:
                assert source.headers.get("access-control-allow-origin") == allowed


# ---- how it lasts, and how it ends ----


async def test_a_silent_stream_is_kept_alive_and_its_position_moves(redis: Redis) -> None:
    """For longer than a WebSocket may be silent, since this client cannot send anything."""
    async with (
        live_bridge(redis.url, intervals=QUICK, silence_seconds=0.5) as live,
        event_source(live.url, "1") as source,
    ):
        await source.receive()
        redis.add_event("http", "completed", "1", returnvalue="0")
        await source.receive()
        sent = redis.add_event("http", "completed", "another", returnvalue="1")
        while (await source.position())["http"] != sent:
            pass
        began = time.monotonic()
        while time.monotonic() - began < 1:
            await source.position()
        redis.add_event("http", "completed", "1", returnvalue="1")
        assert (await source.receive()).event == "completed"


async def test_before_the_answer_no_position_is_reported(own_redis: Callable[..., Redis]) -> None:
    """Such a position would say that everything before it was sent, and nothing was."""
    redis = own_redis()
    async with live_bridge(redis.url, intervals=QUICK) as live:
        await IN_THREAD(redis.server.kill)
        async with event_source(live.url, "1") as source:
            for _ in range(5):
                await source.bytes()
            assert source.parser.last_id == ""
            await IN_THREAD(redis.server.start)
            assert (await source.receive()).event == "ack"


async def test_a_redis_that_stays_away_ends_the_stream_so_that_browsers_come_back(
    own_redis: Callable[..., Redis],
) -> None:
    redis = own_redis()
    async with live_bridge(redis.url, join_seconds=0.2) as live:
        await IN_THREAD(redis.server.kill)
        async with event_source(live.url, "1") as source:
            (event,) = await source.rest()
            assert (event.event, event.data["code"]) == ("error", "unavailable")
        await eventually(lambda: is_free(live))


async def test_a_client_that_leaves_is_gone_at_once(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as other:
        await other.ask("subscribe-job", "1")
        async with event_source(live.url, ["1", "2"]) as source, event_source(live.url, "1") as stays:
            await source.receive()
            await stays.receive()
            assert len(live.bridge.clients.connected) == 3
            await source._stream.aclose()
            await eventually(lambda: len(live.bridge.clients.connected) == 2)
            rooms = live.bridge.fanout.rooms
            assert len(rooms) == 1
            assert rooms.of_job("http", "1")
            redis.add_event("http", "completed", "1", returnvalue="1")
            assert (await stays.receive()).event == (await other.receive())["event"] == "completed"
        await eventually(lambda: len(live.bridge.clients.connected) == 1)


async def test_a_client_that_asks_ahead_and_leaves_is_gone_as_well(redis: Redis) -> None:
    """The next request waits behind the stream, so the end of the connection is not read."""
    async with live_bridge(redis.url, intervals=QUICK) as live:
        with socket.create_connection(("127.0.0.1", urlsplit(live.url).port or 0)) as sock:
            request = b"GET /events?job=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            sock.sendall(request * 3)
            await IN_THREAD(sock.recv, 100)
            await eventually(lambda: bool(live.bridge.fanout.rooms))
        await eventually(lambda: is_free(live))


async def test_a_client_that_takes_nothing_ends_alone_and_may_go_on_later(redis: Redis) -> None:
    jobs = [str(number) for number in range(60)]
    result = '"' + "x" * 50_000 + '"'
    async with live_bridge(redis.url, outbox_bytes=512 * 1024) as live, raw_client(live.url) as good:
        await good.ask("subscribe-queue", "http")
        async with event_source(live.url, jobs, queue="http") as stalled:
            await stalled.receive()
            for job_id in jobs:
                redis.add_event("http", "completed", job_id, returnvalue=result)
                assert (await good.receive())["data"]["jobId"] == job_id
            await eventually(lambda: len(live.bridge.clients.connected) == 1)
            got: list[Event] = []
            with pytest.raises(Exception, match=r"peer closed|Connection"):  # noqa: PT012 - up to the cut
                while True:
                    got.append(await stalled.receive())
        headers = {"Last-Event-ID": stalled.parser.last_id}
        async with event_source(live.url, jobs, queue="http", headers=headers) as again:
            await again.receive()
            seen = {event.data["jobId"] for event in got}
            assert len(seen) < len(jobs)
            while seen != set(jobs):
                seen.add((await again.receive()).data["jobId"])


async def test_sigterm_ends_streams(redis: Redis) -> None:
    """Streams that are read end with their last chunk. One that is not read is cut."""
    with BridgeProcess("--port", "0", "--redis", redis.url, "--shutdown-seconds", "2") as bridge:
        url = await IN_THREAD(bridge.started)
        async with event_source(url, "1") as source, event_source(url, "2") as stalled:
            await source.receive()
            await stalled.receive()
            for _ in range(60):
                redis.add_event("http", "completed", "2", returnvalue='"' + "x" * 60_000 + '"')
            redis.add_event("http", "completed", "1", returnvalue="1")
            assert (await source.receive()).event == "completed"
            began = time.monotonic()
            async with anyio.create_task_group() as tasks:
                codes: list[int] = []

                async def terminate() -> None:
                    codes.append(await IN_THREAD(bridge.terminate))

                tasks.start_soon(terminate)
                (event,) = await source.rest()
                assert (event.event, event.data["code"]) == ("close", 1012)
                assert not codes
            assert codes == [0]
            assert time.monotonic() - began < 2 + 20
    assert not [line for line in bridge.lines if "Traceback" in line]


@pytest.mark.parametrize("kind", APPS)
async def test_under_asyncio_and_another_server(redis: Redis, kind: str) -> None:
    with mounted_bridge(redis.url, kind) as url:
        async with event_source(url, "a/b", events="*") as source:
            await source.receive()
            assert await IN_THREAD(connections, url) == 1
            for event in ("active", "completed"):
                redis.add_event("http", event, "a/b", returnvalue="1")
                assert (await source.receive()).event == event
        await eventually(lambda: connections(url) == 0)
        async with event_source(
            url, "a/b", until="end", headers={"Last-Event-ID": quote(source.parser.last_id)}
        ) as again:
            assert [event.event for event in await again.rest()] == ["ack"]
        answers: list[tuple[int, Any]] = []

        async def wait() -> None:
            answers.append(await call("GET", url + "/jobs/http/2?wait=30"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await eventually(lambda: connections(url) == 1)
            redis.add_event("http", "completed", "2", returnvalue="[2]")
        assert (answers[0][0], answers[0][1]["returnvalue"]) == (200, [2])
        await eventually(lambda: connections(url) == 0)


async def test_a_bridge_that_ends_while_mounted_ends_its_streams(redis: Redis) -> None:
    """The server itself does not end."""
    async with live_bridge(redis.url) as live, event_source(live.url, "1") as source:
        await source.receive()
        live.bridge.close_all(RESTART)
        (event,) = await source.rest()
        assert (event.event, event.data["code"]) == ("close", 1012)
        await eventually(lambda: is_free(live))
        assert (await call("GET", live.url + "/jobs/http/1"))[0] == 404
