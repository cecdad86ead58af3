"""The adapter comes back: what it asks for, and what is news to it. In Node, against a bridge that does as told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.adapter import adapter
from tests.support.fake_bridge import fake_bridge

if TYPE_CHECKING:
    from tests.support.fake_bridge import FakeConnection


RESTARTS: Final = 1012
OPTIONS: Final = {"reconnectionDelay": 1, "reconnectionDelayMax": 1}


async def request(bridge: FakeConnection, event: str) -> dict[str, Any]:
    """The next request of that name; there may be pings before it."""
    while (asked := await bridge.receive())["event"] != event:
        assert asked["event"] == "ping", asked
    return asked


async def subscribed(bridge: FakeConnection, cursor: dict[str, str], **result: Any) -> dict[str, Any]:
    """Acknowledge a subscription to one room; how that was asked for."""
    asked = await request(bridge, "subscribe-job")
    (item,) = asked["data"]
    data = {"request": "subscribe-job", "results": [{"jobs": [], **result}], "cursor": cursor}
    await bridge.send("ack", data, ref=asked["ref"])
    assert isinstance(item, dict)
    return item


async def reached(bridge: FakeConnection, cursor: dict[str, str]) -> None:
    """Answer a ping: everything up to there was sent."""
    await bridge.send("pong", {"cursor": cursor}, ref=(await request(bridge, "ping"))["ref"])


async def test_outcomes_without_id_are_told_once_for_each_queue() -> None:
    """They come with every subscription that has no position, by turns of both queues."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed")
        await client.send("subscribe-job", "1")
        jobs = [{"queue": queue, "jobId": "1", "state": "completed"} for queue in "ab"]
        news: list[list[str]] = []
        for _ in range(3):
            bridge = await server.accept()
            await subscribed(bridge, {"a": "0-0", "b": "0-0"}, jobs=jobs, replays=2)
            for queue in "ab":
                await bridge.job_event("completed", replayed=True, data={"queue": queue, "returnvalue": 7})
            await bridge.close(RESTARTS)
            told = await client.until("disconnect")
            news.append([each["data"]["queue"] for each in told if each["event"] == "completed"])
        assert news == [["a", "b"], [], []]


@pytest.mark.parametrize(("state", "news"), [("completed", []), ("active", ["removed"])])
async def test_a_job_that_is_gone_after_its_outcome_is_no_news_unless_it_lived_again(
    state: str, news: list[str]
) -> None:
    """Its queue was obliterated while the bridge was about to read the outcome back once more."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed", "removed")
        await client.send("subscribe-job", {"jobId": "1", "queue": "a"})
        bridge = await server.accept()
        await subscribed(bridge, {"a": "5-0"}, jobs=[{"queue": "a", "jobId": "1", "state": "active"}])
        await bridge.job_event("completed", id="6-0", data={"queue": "a", "returnvalue": 7})
        await client.until("completed")
        await bridge.close(RESTARTS)
        bridge = await server.accept()
        await subscribed(bridge, {"a": "0-0"}, jobs=[{"queue": "a", "jobId": "1", "state": state}], replays=1)
        await bridge.job_event("removed", replayed=True, data={"queue": "a"})
        await reached(bridge, {"a": "0-0"})
        await bridge.close(RESTARTS)
        await client.until("disconnect")
        told = await client.until("disconnect")
        assert [each["event"] for each in told if each["event"] in ("completed", "removed")] == news


async def test_what_is_said_to_a_room_that_was_left_is_nobodys() -> None:
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("removed", "completed")
        bridge = await server.accept()
        async with client.watch("1", queue="a") as watched:
            await subscribed(bridge, {"a": "5-0"}, jobs=[{"queue": "a", "jobId": "1", "state": "active"}])
            await bridge.job_event("completed", id="6-0", data={"queue": "a", "returnvalue": 7})
            assert [each["event"] async for each in watched] == ["completed"]
        await bridge.job_event("removed", data={"queue": "a"})
        await client.send("subscribe-job", "2")
        await subscribed(bridge, {"a": "5-0"})
        await bridge.job_event("completed", id="7-0", data={"queue": "a", "jobId": "2", "returnvalue": 7})
        told = [each for each in await client.until("completed") if each["event"] in ("removed", "completed")]
        assert [(each["event"], each["data"]["jobId"]) for each in told] == [("completed", "2")]


async def test_a_room_whose_job_ended_in_one_queue_stays_for_the_other() -> None:
    """Of more rooms than there are places, those of which nothing is expected give theirs away."""
    async with adapter() as node, fake_bridge(limits={"maxSubscriptions": 1}) as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed")
        await client.send("subscribe-job", "1")
        bridge = await server.accept()
        jobs = [{"queue": queue, "jobId": "1", "state": "active"} for queue in "ab"]
        await subscribed(bridge, {"a": "1-0", "b": "1-0"}, jobs=jobs)
        await bridge.job_event("completed", id="2-0", data={"queue": "a", "returnvalue": 1})
        await client.until("completed")
        await client.send("subscribe-job", "2")
        await client.send("x")
        await request(bridge, "x")  # and nothing before it
        await bridge.job_event("completed", id="3-0", data={"queue": "b", "returnvalue": 1})
        await client.until("completed")


@pytest.mark.parametrize("how", ["ack", "frame"])
async def test_a_position_of_another_stream_is_not_kept(how: str) -> None:
    """The stream was deleted and begun anew by a Redis whose clock is behind: its ids are lower."""
    jobs = [{"queue": "q", "jobId": "1", "state": "active"}]
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        async with client.watch("1", queue="q", events=["progress"]) as watched:
            bridge = await server.accept()
            item = await subscribed(bridge, {"q": "1000-0"}, jobs=jobs)
            assert "after" not in item
            await bridge.job_event("progress", id="1001-0", data={"data": 1})
            assert (await anext(watched))["id"] == "1001-0"
            if how == "ack":
                await bridge.close(RESTARTS)
                bridge = await server.accept()
                item = await subscribed(bridge, {"q": "5-0"}, jobs=jobs, gap=True)
                assert item["after"] == {"q": "1001-0"}
            else:
                gap = {"queue": "q", "reason": "recreated", "jobs": None, "cursor": {"q": "5-0"}}
                await bridge.send("gap", gap)
                await reached(bridge, {"q": "5-0"})
            assert (await anext(watched))["event"] == "gap"
            await bridge.job_event("progress", id="6-0", data={"data": 2})
            assert (await anext(watched))["id"] == "6-0"
            await bridge.close(RESTARTS)
            bridge = await server.accept()
            item = await subscribed(bridge, {"q": "6-0"}, jobs=jobs, replays=1)
            assert item["after"] == {"q": "6-0"}
            # What is read back behind it is news.
            await bridge.job_event("progress", id="7-0", replayed=True, data={"data": 3})
            assert (await anext(watched))["id"] == "7-0"


async def test_an_outcome_that_was_told_is_none_after_a_gap_either() -> None:
    """A stream that went back to an earlier state has it still, and a subscription without a position brings it."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed", "failed")
        await client.send("subscribe-job", {"jobId": "1", "queue": "q"})
        bridge = await server.accept()
        await subscribed(bridge, {"q": "1-0"})
        await bridge.job_event("completed", id="2-0", data={"returnvalue": 1})
        await bridge.send("gap", {"queue": "q", "reason": "ahead", "jobs": None, "cursor": {"q": "3-0"}})
        await reached(bridge, {"q": "3-0"})
        await client.send("subscribe-job", {"jobId": "1", "queue": "q", "events": ["*"]})
        await subscribed(bridge, {"q": "1-0"}, replays=1)
        await bridge.job_event("completed", id="2-0", replayed=True, data={"returnvalue": 1})
        await bridge.job_event("failed", id="1-5", replayed=True, data={"failedReason": "again"})
        assert [each["event"] for each in await client.until("failed")] == [
            "connect",
            "transport",
            "completed",
            "failed",
        ]


async def test_jobs_of_several_queues_are_asked_for_from_their_beginning_after_a_gap() -> None:
    """Without a position the bridge would tell no outcome that is older than a minute (R8)."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.send("subscribe-job", ["1", {"jobId": "1", "queue": "a"}])
        bridge = await server.accept()
        asked = await request(bridge, "subscribe-job")
        assert asked["data"] == [{"jobId": "1"}, {"jobId": "1", "queue": "a"}]
        data = {"request": "subscribe-job", "results": [{"jobs": []}] * 2, "cursor": {"a": "4-0", "b": "5-0"}}
        await bridge.send("ack", data, ref=asked["ref"])
        await bridge.send("gap", {"queue": "a", "reason": "trimmed", "jobs": None, "cursor": {"a": "9-0"}})
        await request(bridge, "ping")
        await bridge.close(RESTARTS)
        asked = await request(await server.accept(), "subscribe-job")
        assert asked["data"] == [{"jobId": "1", "after": {"a": "4-0", "b": "5-0"}}, {"jobId": "1", "queue": "a"}]


async def test_what_came_is_known_also_if_its_stream_is_found_to_be_another_one_only_then() -> None:
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed", "failed")
        await client.send("subscribe-job", {"jobId": "1", "queue": "q"})
        bridge = await server.accept()
        await subscribed(bridge, {"q": "1-0"})
        await bridge.job_event("completed", id="2-0", data={"returnvalue": 1})
        await bridge.send("gap", {"queue": "q", "reason": "recreated", "jobs": None, "cursor": {"q": "2-0"}})
        await bridge.close(RESTARTS)
        bridge = await server.accept()
        await subscribed(bridge, {"q": "1-0"}, replays=1)
        await bridge.job_event("completed", id="2-0", replayed=True, data={"returnvalue": 1})
        await bridge.job_event("failed", id="3-0", data={"failedReason": "again"})
        assert "completed" not in [each["event"] for each in (await client.until("failed"))[3:]]


async def test_what_is_read_back_for_one_job_is_no_position_for_another_one() -> None:
    """An outcome of a life before this one lies behind it, and would come back with it."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        rooms = [{"jobId": job_id, "queue": "q"} for job_id in "12"]
        await client.send("subscribe-job", rooms)
        bridge = await server.accept()
        asked = await request(bridge, "subscribe-job")
        data = {
            "request": "subscribe-job",
            "results": [{"jobs": [], "replays": 1}, {"jobs": []}],
            "cursor": {"q": "0-0"},
        }
        await bridge.send("ack", data, ref=asked["ref"])
        await request(bridge, "ping")
        await bridge.close(RESTARTS)
        assert (await request(await server.accept(), "subscribe-job"))["data"] == rooms
