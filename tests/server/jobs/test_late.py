"""Late and returning clients: outcomes from the stream, from the hash and after a position, and gaps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.watching import OLD, checked, finish, nothing_more, subscribe

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_an_outcome_before_the_start_of_the_bridge_is_replayed(redis: Redis) -> None:
    sent = finish(redis, "1", returnvalue='{"answer":42}')
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await subscribe(client, "1")
        assert (ack["jobs"], "unknown" in ack) == ([], False)
        frame = await client.receive()
        assert frame == {
            "event": "completed",
            "id": sent,
            "replayed": True,
            "data": {"queue": "http", "jobId": "1", "prev": "active", "returnvalue": {"answer": 42}},
        }
        await nothing_more(client)


async def test_an_outcome_while_the_bridge_runs_is_replayed(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as first:
        await subscribe(first, "1")
        sent = finish(redis, "1")
        assert (await first.receive())["id"] == sent
        async with raw_client(live.url) as client:
            await subscribe(client, {"jobId": "1", "events": ["failed", "progress"]})
            await nothing_more(client)
            await subscribe(client, {"jobId": "1", "queue": "http"})
            frame = await client.receive()
            assert (frame["id"], frame["replayed"]) == (sent, True)
            await nothing_more(client)


async def test_an_outcome_that_only_the_hash_has_has_the_streams_end_and_more_as_its_id(redis: Redis) -> None:
    redis.add_job("http", "1", state="completed", finishedOn=OLD, returnvalue='[1,"\\ud800"]')
    redis.add_job("http", "2", state="failed", finishedOn=OLD, failedReason="no\nreason")
    redis.add_job("http", "3", state="active")
    end = redis.add_event("http", "active", "3")
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await subscribe(client, {"jobs": ["1", "2", "3"], "until": "end", "queue": "http"})
        assert [result.get("after") for result in ack["results"]] == [{"http": "0-0"}, {"http": "0-0"}, None]
        assert ack["after"] == {"http": end}
        first, second = await client.receive(), await client.receive()
        assert first == {
            **{"event": "completed", "id": f"{end}~{OLD}", "replayed": True},
            "data": {"queue": "http", "jobId": "1", "returnvalue": [1, "\ud800"]},
        }
        assert second == {
            **{"event": "failed", "id": f"{end}~{OLD}", "replayed": True},
            "data": {"queue": "http", "jobId": "2", "failedReason": "no\nreason"},
        }
        assert (await nothing_more(client))["data"]["after"] == {"http": end}
        ack = await subscribe(client, {"jobId": "1", "events": ["failed"]})
        assert ("unknown" in ack, ack["after"]) == (False, {"http": end})
        await nothing_more(client)
        rooms = ["1", *({"jobId": job_id, "queue": "http"} for job_id in "123")]
        assert (await client.ask("unsubscribe-job", rooms))["data"]["results"] == [
            *({"left": left} for left in (True, False, False, True)),
        ]


@pytest.mark.parametrize("again", ["added", "waiting", "active", "delayed"])
async def test_an_outcome_of_an_earlier_life_is_none(redis: Redis, again: str) -> None:
    finish(redis, "1")
    redis.add_event("http", again, "1", prev="completed")
    redis.add_event("http", "progress", "1", data="5")
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, "1")
        await nothing_more(client)


async def test_what_follows_an_outcome_does_not_hide_it(redis: Redis) -> None:
    sent = redis.add_event("http", "failed", "1", failedReason="x", prev="active")
    redis.add_event("http", "retries-exhausted", "1", attemptsMade=1)
    redis.add_event("http", "duplicated", "1")
    redis.add_event("http", "removed", "1", prev="failed")
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, "1")
        assert (await client.receive())["id"] == sent
        await nothing_more(client)


async def test_after_a_position_every_chosen_event_is_replayed(redis: Redis) -> None:
    first = redis.add_event("http", "added", "1", name="x")
    second = redis.add_event("http", "progress", "1", data="1")
    redis.add_event("http", "progress", "2", data="1")
    third = redis.add_event("http", "progress", "1", data="2")
    last = redis.add_event("http", "completed", "1", returnvalue="1")
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await subscribe(client, {"jobId": "1", "events": ["*"], "after": {"http": first, "nope": "1-1"}})
        assert "gap" not in ack
        assert [(await client.receive())["id"] for _ in range(3)] == [second, third, last]
        ack = await subscribe(
            client, {"jobId": "1", "queue": "http", "events": ["completed", "progress"], "after": second}
        )
        assert "gap" not in ack
        assert [(await client.receive())["id"] for _ in range(2)] == [third, last]
        ack = await subscribe(client, {"jobId": "1", "queue": "http", "after": last})
        assert ack["unknown"]
        await nothing_more(client)


async def test_a_position_that_the_stream_does_not_reach_back_to_is_a_gap(redis: Redis) -> None:
    early = redis.add_event("http", "added", "1")
    kept = finish(redis, "1")
    redis.client.xtrim("bull:http:events", maxlen=1, approximate=False)
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await subscribe(client, {"jobId": "1", "queue": "http", "after": early})
        assert ack["gap"]
        assert (await client.receive())["id"] == kept
        assert "gap" not in await subscribe(client, {"jobId": "1", "queue": "http", "after": kept})
        ahead = await subscribe(client, {"jobId": "1", "queue": "http", "after": f"{2**50}-0"})
        assert ahead["gap"]
        assert (await client.receive())["id"] == kept
        vanished = await subscribe(client, {"jobId": "1", "queue": "sparql", "after": "5-5"})
        assert vanished["gap"]
        assert "gap" not in await subscribe(client, {"jobId": "1", "queue": "sparql", "after": "0-0"})
        assert "gap" not in await subscribe(client, {"jobId": "1", "queue": "http"})


async def test_an_entry_that_was_trimmed_meanwhile_is_a_gap_and_the_hash_makes_up_for_it(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        sent = finish(redis, "1")
        await subscribe(client, {"jobId": "2", "events": ["*"]})
        redis.add_event("http", "waiting", "2")
        await client.receive()  # so the outcome was published
        await checked(live)
        redis.client.xtrim("bull:http:events", maxlen=0, approximate=False)
        redis.add_job("http", "1", state="completed", finishedOn=OLD, returnvalue="7")
        await subscribe(client, {"jobId": "1", "queue": "http"})
        gap = (await client.receive())["data"]
        assert (gap["queue"], gap["reason"], gap["jobs"]) == ("http", "trimmed", ["1"])
        assert "cursor" not in gap
        made = await client.receive()
        assert (made["id"].partition("~")[2], made["data"]["returnvalue"]) == (str(OLD), 7)
        assert made["id"] > sent
        await nothing_more(client)


async def test_an_id_that_several_queues_know_yields_young_outcomes_alone(redis: Redis) -> None:
    redis.add_job("http", "1", state="completed", finishedOn=OLD, returnvalue='"last week"')
    redis.add_entry("http", {b"event": b"active", b"jobId": b"2"}, stream_id=f"{OLD}-0")
    redis.add_entry("sparql", {b"event": b"completed", b"jobId": b"1", b"returnvalue": b"0"}, stream_id=f"{OLD}-0")
    redis.add_job("sparql", "1", state="completed", finishedOn=OLD, returnvalue="0")
    sent = finish(redis, "1", queue="analyzer", returnvalue='"now"')
    redis.add_job("techstack", "1", state="failed", finishedOn=time.time() * 1000, failedReason="now")
    async with live_bridge(redis.url, sweep_seconds=0.05) as live, raw_client(live.url) as client:
        ack = await subscribe(client, "1")
        assert ack["ambiguous"]
        assert {queue: "~" in at for queue, at in ack["after"].items()} == {
            **{"http": True, "sparql": True, "analyzer": False, "techstack": False}
        }
        outcomes = [await client.receive(), await client.receive()]
        assert [each["data"]["queue"] for each in outcomes] == ["analyzer", "techstack"]
        assert outcomes[0]["id"] == sent
        await nothing_more(client)
        ack = await subscribe(client, {"jobId": "1", "queue": "http"})
        assert ("ambiguous" in ack, (await client.receive())["data"]["returnvalue"]) == (False, "last week")
        await subscribe(client, {"jobId": "1", "queue": "sparql"})
        assert (await client.receive())["data"]["returnvalue"] == 0


async def test_a_thousand_results_do_not_make_a_client_slow(redis: Redis) -> None:
    """10 MB of results go through an outbox of 200 kB. Half of them come from the stream, half from the hashes."""
    result = '"' + "x" * 10_000 + '"'
    for number in range(1000):
        if number % 2:
            finish(redis, f"j{number}", returnvalue=result)
        else:
            redis.add_job("http", f"j{number}", state="completed", finishedOn=OLD, returnvalue=result)
    async with live_bridge(redis.url, outbox_bytes=200_000) as live, raw_client(live.url) as client:
        ack = await subscribe(client, {"jobs": [f"j{number}" for number in range(1000)], "queue": "http"})
        assert not any("unknown" in result for result in ack["results"])
        seen = {(await client.receive())["data"]["jobId"] for _ in range(1000)}
        assert len(seen) == 1000
        await nothing_more(client)


async def test_a_thousand_outcomes_are_made_from_hashes_in_a_few_questions(redis: Redis) -> None:
    """A client that returns after a gap needs many of them. One by one they took 20 s on a busy machine."""
    jobs = [str(number) for number in range(1000)]
    for job_id in jobs:
        redis.add_job("http", job_id, state="completed", finishedOn="1", returnvalue=job_id)

    def transactions() -> int:
        calls: int = redis.client.info("commandstats")["cmdstat_exec"]["calls"]
        return calls

    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await subscribe(client, {"jobs": jobs[:1], "queue": "http"})
        await client.receive()
        before = transactions()
        await subscribe(client, {"jobs": jobs, "queue": "http"})
        received = [await client.receive() for _ in jobs]
        assert [frame["data"]["returnvalue"] for frame in received] == [int(job_id) for job_id in jobs]
        assert transactions() - before < 100
