"""Subscriptions, isolation of clients, errors and the end, with a real client, Redis and server."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from jobws.protocol.identifiers import KEY_SUFFIXES
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.redis import read_recording

if TYPE_CHECKING:
    from jobws.bullmq.snapshot import Job
    from tests.support.redis import Redis


async def test_hello_is_first_and_tells_the_limits(redis: Redis) -> None:
    async with live_bridge(redis.url, max_subscriptions=7) as live, raw_client(live.url, hello=False) as client:
        hello = await client.receive()
        assert hello["event"] == "hello"
        assert hello["data"]["protocol"] == "jobws.v1"
        assert hello["data"]["queues"] == ["http", "sparql", "techstack", "analyzer"]
        assert hello["data"]["limits"] == {"maxMessage": 262144, "maxFrame": 2162688, "maxSubscriptions": 7}


async def test_a_job_is_followed_from_snapshot_to_outcome(redis: Redis) -> None:
    redis.add_job("techstack", "7", state="active", progress='{"step": 1}', atm="0")
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await client.ask("subscribe-job", {"jobId": 7, "queue": "techstack"}, ref="r")
        assert ack["ref"] == "r"
        (snapshot,) = ack["data"]["jobs"]
        assert (snapshot["queue"], snapshot["jobId"], snapshot["state"]) == ("techstack", "7", "active")
        assert snapshot["progress"] == {"step": 1}
        stream_id = redis.add_event("techstack", "completed", "7", returnvalue='{"react": "19.2.1"}', prev="active")
        assert await client.receive() == {
            "event": "completed",
            "id": stream_id,
            "data": {"queue": "techstack", "jobId": "7", "returnvalue": {"react": "19.2.1"}, "prev": "active"},
        }


async def test_equal_ids_of_two_queues_are_told_apart(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as one, raw_client(live.url) as both:
        await one.ask("subscribe-job", {"jobId": "1", "queue": "http"})
        await both.ask("subscribe-job", "1")
        redis.add_event("analyzer", "completed", "1", returnvalue="1")
        assert (await both.receive())["data"]["queue"] == "analyzer"
        redis.add_event("http", "completed", "1", returnvalue="2")
        assert (await both.receive())["data"]["queue"] == "http"
        assert (await one.receive())["data"] == {"queue": "http", "jobId": "1", "returnvalue": 2}


async def test_each_subscription_that_matches_has_a_frame_of_its_own(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", [{"sub": 1, "jobId": "1"}, {"sub": 2, "jobId": "1", "queue": "http"}])
        await client.ask("subscribe-queue", {"sub": 3, "queue": "http"})
        sent = [redis.add_event("http", "completed", "1", returnvalue=str(number)) for number in range(2)]
        frames = [await client.receive() for _ in range(6)]
        assert [frame["id"] for frame in frames] == [sent[0]] * 3 + [sent[1]] * 3
        assert [sorted(frame["sub"] for frame in frames[start : start + 3]) for start in (0, 3)] == [[1, 2, 3]] * 2


async def test_nothing_arrives_after_unsubscribing(redis: Redis) -> None:
    """A later event of another job shows this."""
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", ["gone", "control"])
        ack = await client.ask("unsubscribe-job", "gone")
        assert ack["data"] == {"request": "unsubscribe-job", "left": True}
        redis.add_event("http", "completed", "gone", returnvalue="1")
        redis.add_event("http", "completed", "other", returnvalue="1")
        control = redis.add_event("http", "completed", "control", returnvalue="1")
        assert (await client.receive())["id"] == control
        assert (await client.ask("unsubscribe-job", "gone"))["data"]["left"] is False


async def test_only_chosen_events_arrive(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", [{"jobId": "a", "events": ["progress", "custom:ack"]}, "b"])
        for event in ("active", "ack"):
            redis.add_event("http", event, "a", x="1")
        redis.add_event("http", "progress", "a", data="50")
        redis.add_event("http", "progress", "b", data="50")
        redis.add_event("http", "completed", "a", returnvalue="1")
        redis.add_event("http", "completed", "b", returnvalue="1")
        frames = await client.until("completed", jobId="b")
        assert [(frame["event"], frame["data"]["jobId"]) for frame in frames] == [
            *(("custom:ack", "a"), ("progress", "a"), ("completed", "b")),
        ]


async def test_until_end_leaves_after_the_outcome(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", [{"jobId": "a", "until": "end"}, "control"])
        redis.add_event("http", "failed", "a", failedReason="no")
        redis.add_event("http", "completed", "a", returnvalue="1")
        redis.add_event("http", "completed", "control", returnvalue="1")
        frames = await client.until("completed")
        assert [(frame["event"], frame["data"]["jobId"]) for frame in frames] == [
            *(("failed", "a"), ("completed", "control")),
        ]


async def test_the_oldest_ended_room_makes_place(redis: Redis) -> None:
    async with live_bridge(redis.url, max_subscriptions=2) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", ["a", "b"])
        refused = await client.ask("subscribe-job", "c")
        assert (refused["event"], refused["data"]["code"]) == ("error", "too-many-subscriptions")
        redis.add_event("http", "completed", "b", returnvalue="1")
        await client.receive()
        assert (await client.ask("subscribe-job", "c"))["data"]["evicted"] == [{"jobId": "b"}]


VALID_IDS = (
    *("a:b:c", "a/b?c#d", "line\nbreak", "💥", "with spaces ", "0", "é" * 256, "x" * 512, "{x}", "%2F", "\u2028"),
    *("repeat:every:1795435729358", "wait:1", '"', "\\", "__proto__", "\x00"),
)


@pytest.mark.parametrize("job_id", [*VALID_IDS, 0, -5, 2**53 - 1, -(2**53) + 1], ids=ascii)
async def test_valid_ids_work_everywhere(redis: Redis, job_id: str | int) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        redis.add_job("http", str(job_id))
        ack = await client.ask("subscribe-job", job_id)
        assert [job["jobId"] for job in ack["data"]["jobs"]] == [str(job_id)]
        sent = redis.add_event("http", "completed", str(job_id), returnvalue="true")
        event = await client.receive()
        assert (event["id"], event["data"]["jobId"]) == (sent, str(job_id))
        assert (await client.ask("unsubscribe-job", job_id))["data"]["left"] is True


def _request(data: object) -> str:
    return json.dumps({"event": "subscribe-job", "data": data})


BAD_MESSAGES: list[tuple[str | bytes, str]] = [
    ("no json", "bad-json"),
    ('{"event": NaN}', "bad-json"),
    ("", "bad-json"),
    ("[]", "not-an-object"),
    ("1", "not-an-object"),
    ("{}", "bad-event"),
    ('{"event": 1}', "bad-event"),
    ('{"event": "dance"}', "unknown-event"),
    ('{"event":"ping","ref":[]}', "bad-ref"),
    ('{"event":"ping","data":' + "[" * 10_000 + "]" * 10_000 + "}", "too-deep"),
    (b"\x00\x01", "binary"),
    (_request({}), "bad-data"),
    (_request({"jobs": "1"}), "bad-data"),
    (_request(None), "bad-job-id"),
    (_request(""), "bad-job-id"),
    (_request("x" * 513), "bad-job-id"),
    (_request("é" * 256 + "x"), "bad-job-id"),
    (_request("\ud800"), "bad-job-id"),
    (_request(True), "bad-job-id"),
    (_request(1.5), "bad-job-id"),
    (_request(1.0), "bad-job-id"),
    (_request(2**53), "bad-job-id"),
    (_request(10**400), "bad-job-id"),
    *((_request(suffix), "bad-job-id") for suffix in sorted(KEY_SUFFIXES)),
    (_request({"jobId": "1", "queue": "nope"}), "unknown-queue"),
    (_request({"jobId": "1", "queue": 5}), "bad-queue"),
    (_request({"jobId": "1", "events": []}), "bad-events"),
    (_request({"jobId": "1", "events": ["x" * 65]}), "bad-events"),
    (_request({"jobId": "1", "until": "later"}), "bad-until"),
    ('{"event":"subscribe-queue"}', "bad-queue"),
]


async def test_bad_messages_get_their_error_and_hurt_nobody(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as good:
        await good.ask("subscribe-job", "good")
        for number, (message, code) in enumerate(BAD_MESSAGES):
            async with raw_client(live.url) as bad:
                await bad.send_raw(message)
                answer = await bad.receive()
                assert (answer["event"], answer["data"]["code"]) == ("error", code), message[:80]
                assert answer["data"]["message"]
                assert (await bad.ask("ping", ref=number))["event"] == "pong"
        sent = redis.add_event("http", "completed", "good", returnvalue="1")
        assert (await good.receive())["id"] == sent
        assert not live.bridge.queues.health[0].crashes


async def test_a_list_answers_each_item(redis: Redis) -> None:
    redis.add_job("http", "1")
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await client.ask("subscribe-job", {"jobs": ["1", "", {"jobId": 2}, "meta"], "queue": "http"})
        results = ack["data"]["results"]
        assert [job["state"] for job in results[0]["jobs"]] == ["waiting"]
        assert results[1]["error"]["code"] == results[3]["error"]["code"] == "bad-job-id"
        assert results[2] == {"jobs": [], "unknown": True}
        assert set(ack["data"]["after"]) == {"http"}


async def test_abuse_ends_the_connection(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        for _ in range(20):
            await client.send_raw("nonsense")
        assert await client.closed() == (4502, "20 errors within 10 s")


async def test_too_large_a_message_ends_the_connection(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.send_raw(json.dumps({"event": "ping", "data": "x" * 300_000}))
        assert (await client.closed())[0] == 1009


async def test_an_unknown_subprotocol_is_reported(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        async with raw_client(live.url, subprotocols=["jobws.v9"]) as client:
            assert (await client.closed())[0] == 4503
        async with raw_client(live.url, subprotocols=["jobws.v9", "jobws.v1"]) as client:
            assert client.socket.subprotocol == "jobws.v1"
            assert (await client.ask("ping"))["event"] == "pong"


async def test_poison_entries_do_no_harm_and_are_counted(redis: Redis) -> None:
    deep = "[" * 1000 + "]" * 1000
    poison: list[tuple[dict[bytes, Any], dict[str, Any]]] = [
        ({b"event": "completed", b"jobId": "p", b"returnvalue": b'"\xff"'}, {"returnvalue": '"\ufffd"'}),
        ({b"event": "completed", b"jobId": "p", b"returnvalue": "{no"}, {"returnvalue": "{no"}),
        ({b"event": "completed", b"jobId": "p", b"returnvalue": r'"\ud800"'}, {"returnvalue": "\ud800"}),
        ({b"event": "completed", b"jobId": "p", b"returnvalue": deep}, {"returnvalue": deep}),
        ({b"event": "completed", b"jobId": "p"}, {}),
        ({b"event": "progress", b"jobId": "p", b"data": ""}, {"data": ""}),
        ({b"event": "completed", b"jobId": "p", b"\xff": b"\xfe", b"queue": "liar"}, {"\ufffd": "\ufffd"}),
        ({b"event": "ack", b"jobId": "p"}, {}),
        ({b"jobId": "p", b"event": "failed", b"failedReason": "x\x00\u2028y"}, {"failedReason": "x\x00\u2028y"}),
    ]
    async with live_bridge(redis.url, progress_ms=0) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", {"jobId": "p", "events": ["*"]})
        for fields, data in poison:
            redis.add_entry("http", fields)
            frame = await client.receive()
            assert frame["data"] == {"queue": "http", "jobId": "p", **data}
        redis.add_entry("http", {b"jobId": "p", b"nothing": "else"})
        redis.add_entry("http", {b"odd": "1"})
        last = redis.add_event("http", "completed", "p", returnvalue="1")
        assert (await client.receive())["id"] == last
        counts = live.bridge.fanout.counts
        assert counts["invalid-utf8"] == 2
        assert counts["bad-json"] == 4
        assert counts["missing-field"] == 4
        assert counts["poison"] == 0
        assert not any(health.crashes for health in live.bridge.queues.health)


async def test_too_large_a_result_is_left_out_and_reported(redis: Redis) -> None:
    async with live_bridge(redis.url, progress_ms=0, max_result_bytes=1000) as live, raw_client(live.url) as client:
        await client.ask("subscribe-job", "1")
        result = json.dumps("x" * 2000)
        at = redis.add_event("http", "completed", "1", returnvalue=result, prev="active")
        assert (await client.receive())["data"] == {
            "queue": "http",
            "jobId": "1",
            "prev": "active",
            "truncated": True,
            "bytes": len(result),
            "href": f"/jobs?queue=http&jobId=1&event={at}",
        }


@pytest.mark.parametrize("name", ["delayed", "fail-retries", "flow", "progress", "removed", "success", "unicode"])
async def test_recordings_arrive_complete_and_in_order(redis: Redis, name: str) -> None:
    entries = read_recording(name)
    queues = {entry.queue for entry in entries}
    for queue in queues:
        redis.make_queue(queue)
    # Each job is a subscription, and has an order of its own (protocol.md, rule P2).
    expected: dict[Job, list[tuple[str, str, object]]] = defaultdict(list)
    received: dict[Job, list[tuple[str, str, object]]] = defaultdict(list)
    async with live_bridge(redis.url, progress_ms=0, queues=("*",)) as live, raw_client(live.url) as client:
        job_ids = sorted({entry.fields["jobId"] for entry in entries if "jobId" in entry.fields})
        await client.ask("subscribe-job", {"jobs": job_ids, "events": ["*"]})
        for entry in entries:
            redis.add_entry(
                entry.queue, {key.encode(): value for key, value in entry.fields.items()}, stream_id=entry.id
            )
            if "jobId" in entry.fields:
                data: dict[str, object] = {"queue": entry.queue, **entry.fields}
                event = data.pop("event")
                for field in {"completed": ["returnvalue"], "progress": ["data"], "delayed": ["delay"]}.get(
                    str(event), []
                ):
                    data[field] = json.loads(str(data[field])) if data[field] else data[field]
                expected[entry.queue, entry.fields["jobId"]].append((str(event), entry.id, data))
        while sum(map(len, received.values())) < sum(map(len, expected.values())):
            frame = await client.receive()
            job = frame["data"]["queue"], frame["data"]["jobId"]
            received[job].append((frame["event"], frame["id"], frame["data"]))
    assert received == expected
