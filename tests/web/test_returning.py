"""The adapter returns: what it asks for, and what it passes on. In Node, with a fake bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.adapter import adapter
from tests.support.fake_bridge import HELLO, fake_bridge

if TYPE_CHECKING:
    from tests.support.fake_bridge import FakeConnection

RESTARTS: Final = 1012
OPTIONS: Final = {"reconnectionDelay": 1, "reconnectionDelayMax": 1}


async def request(bridge: FakeConnection, event: str) -> dict[str, Any]:
    """Return the next request with this name. Pings may come before it."""
    while (asked := await bridge.receive())["event"] != event:
        assert asked["event"] == "ping", asked
    return asked


async def subscribed(bridge: FakeConnection, after: dict[str, str], **result: Any) -> dict[str, Any]:
    """Acknowledge a subscription to one job, and return its item in the request."""
    asked = await request(bridge, "subscribe-job")
    (item,) = asked["data"]
    data = {"request": "subscribe-job", "results": [{"jobs": [], "after": after, **result}]}
    await bridge.send("ack", data, ref=asked["ref"])
    assert isinstance(item, dict)
    return item


async def test_an_outcome_that_the_stream_has_lost_is_told_once_for_each_queue() -> None:
    """A bridge makes the outcome from the hash each time, since it cannot know what the stream had (R4)."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed")
        await client.send("subscribe-job", "1")
        jobs = [{"queue": queue, "jobId": "1", "state": "completed"} for queue in "ab"]
        news: list[list[str]] = []
        for turn in range(3):
            bridge = await server.accept()
            await subscribed(bridge, {"a": "0-0", "b": "0-0"}, jobs=jobs)
            for queue in "ab":
                data = {"queue": queue, "returnvalue": 7}
                await bridge.job_event("completed", replayed=True, id=f"{turn}-0~17", data=data)
            await bridge.close(RESTARTS)
            told = await client.until("disconnect")
            news.append([each["data"]["queue"] for each in told if each["event"] == "completed"])
        assert news == [["a", "b"], [], []]


async def test_the_same_result_of_another_life_is_news() -> None:
    """An outcome with its own stream id is news. So is one from the hash, if the job was seen alive again."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed", "active")
        await client.send("subscribe-job", {"jobId": "1", "queue": "q"})
        bridge = await server.accept()
        await subscribed(bridge, {"q": "1-0"})
        for id in ("2-0", "3-0"):
            await bridge.job_event("completed", id=id, data={"returnvalue": 7})
        await bridge.job_event("active", id="4-0")
        await bridge.job_event("completed", id="5-0~17", data={"returnvalue": 7})
        for _ in range(3):
            await client.until("completed")


@pytest.mark.parametrize(("state", "news"), [("completed", []), ("active", ["removed"])])
async def test_a_job_that_is_gone_after_its_outcome_is_no_news_unless_it_lived_again(
    state: str, news: list[str]
) -> None:
    """The queue was obliterated while the bridge was about to replay the outcome once more."""
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
        await subscribed(bridge, {"a": "0-0"}, jobs=[{"queue": "a", "jobId": "1", "state": state}])
        await bridge.job_event("removed", id="6-0~", replayed=True, data={"queue": "a"})
        await bridge.close(RESTARTS)
        await client.until("disconnect")
        told = await client.until("disconnect")
        assert [each["event"] for each in told if each["event"] in ("completed", "removed")] == news


async def test_what_is_said_to_a_subscription_that_was_left_is_nobodys() -> None:
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
        await bridge.job_event("completed", "2", id="7-0", data={"queue": "a", "returnvalue": 7})
        told = [each for each in await client.until("completed") if each["event"] in ("removed", "completed")]
        assert [(each["event"], each["data"]["jobId"]) for each in told] == [("completed", "2")]


async def test_a_job_that_ended_in_one_queue_stays_for_the_other() -> None:
    """If there are more watches than places, only those from which nothing is expected lose their places early."""
    async with adapter() as node, fake_bridge(limits={**HELLO["limits"], "maxSubscriptions": 1}) as server:
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
        await client.send("subscribe-job", "3")
        assert [item["jobId"] for item in (await request(bridge, "subscribe-job"))["data"]] == ["2"]


@pytest.mark.parametrize("how", ["ack", "frame"])
async def test_a_position_of_another_stream_is_not_kept(how: str) -> None:
    """The stream was deleted, and began again with lower ids, since the clock of this Redis is behind."""
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
                await bridge.send("gap", {"queue": "q", "reason": "recreated", "jobs": None})
            assert (await anext(watched))["event"] == "gap"
            await bridge.job_event("progress", id="6-0", data={"data": 2})
            assert (await anext(watched))["id"] == "6-0"
            await bridge.close(RESTARTS)
            bridge = await server.accept()
            item = await subscribed(bridge, {"q": "6-0"}, jobs=jobs)
            assert item["after"] == {"q": "6-0"}
            await bridge.job_event("progress", id="7-0", replayed=True, data={"data": 3})
            assert (await anext(watched))["id"] == "7-0"


@pytest.mark.parametrize("returns", [False, True])
async def test_an_outcome_that_was_told_is_none_after_a_gap_either(returns: bool) -> None:
    """A stream that went back to an earlier state still has the outcome, and is read from its beginning."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        await client.on("completed", "failed")
        await client.send("subscribe-job", {"jobId": "1", "queue": "q"})
        bridge = await server.accept()
        await subscribed(bridge, {"q": "1-0"})
        await bridge.job_event("completed", id="2-0", data={"returnvalue": 1})
        await bridge.send("gap", {"queue": "q", "reason": "ahead", "jobs": None})
        await client.until("completed")
        if returns:
            await bridge.close(RESTARTS)
            bridge = await server.accept()
        else:
            await client.send("subscribe-job", {"jobId": "1", "queue": "q", "events": ["*"]})
            await request(bridge, "unsubscribe-job")
        assert (await subscribed(bridge, {"q": "0-0"}, gap=True))["after"] == {"q": "0-0"}
        await bridge.job_event("job-log", data={"lines": ["late"], "first": 0, "position": "1"})
        await bridge.job_event("completed", id="2-0", replayed=True, data={"returnvalue": 1})
        await bridge.job_event("failed", id="2-5", replayed=True, data={"failedReason": "again"})
        assert "completed" not in [each["event"] for each in await client.until("failed")]


async def test_watches_that_want_the_same_share_a_subscription() -> None:
    """A result of megabytes comes once, however many components of a page show it. Each gets it as if it were alone."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        bridge = await server.accept()
        active = [{"queue": "q", "jobId": "1", "state": "active"}]
        async with (
            client.watch("1", queue="q", events=["progress"]) as first,
            client.watch("1", queue="q") as second,
        ):
            item = await subscribed(bridge, {"q": "1-0"}, jobs=active)
            await bridge.job_event("progress", id="2-0", data={"data": 1})
            assert (await anext(first))["event"] == "progress"
            async with client.watch("1", queue="q", events=["progress"], expect=False) as third:
                await client.send("x")
                await request(bridge, "x")  # and nothing before it
                # A watch that wants more has its own subscription.
                async with client.watch("1", queue="q", events=["active"]) as other:
                    assert (await subscribed(bridge, {"q": "2-0"}, jobs=active))["sub"] != item["sub"]
                    await bridge.job_event(
                        "completed", id="3-0", sub=item["sub"], data={"returnvalue": "x" * 2_000_000}
                    )
                    for watched in (first, second, third):
                        assert [len(each["data"]["returnvalue"]) async for each in watched] == [2_000_000]
                    await bridge.job_event("completed", id="3-0", data={"returnvalue": 1})
                    assert [each["event"] async for each in other] == ["completed"]


async def test_who_asks_while_a_job_is_looked_up_is_not_told_what_was_before() -> None:
    """The job may have been added since, so a call that asks whether it exists has it looked up again."""
    async with adapter() as node, fake_bridge() as server:
        client = await node.io(server.url, **OPTIONS)
        bridge = await server.accept()
        async with client.watch("1", queue="q") as first:
            asked = await request(bridge, "subscribe-job")
            async with client.watch("1", queue="q", expect=False) as second:
                again = await request(bridge, "subscribe-job")
                results = {
                    "request": "subscribe-job",
                    "results": [{"jobs": [], "unknown": True, "after": {"q": "1-0"}}],
                }
                await bridge.send("ack", results, ref=asked["ref"])
                results = {"request": "subscribe-job", "results": [{"jobs": [], "after": {"q": "1-0"}}]}
                await bridge.send("ack", results, ref=again["ref"])
                for each in (asked, again):
                    await bridge.job_event("completed", id="2-0", sub=each["data"][0]["sub"], data={"returnvalue": 1})
                for watched in (first, second):
                    assert [each["event"] async for each in watched] == ["completed"]


async def test_what_is_larger_than_a_message_is_refused_alone() -> None:
    async with adapter() as node, fake_bridge(limits={**HELLO["limits"], "maxMessage": 1000}) as server:
        client = await node.io(server.url, **OPTIONS)
        (answer,) = await client.emit("subscribe-job", "x" * 1000)
        assert answer["error"]["code"] == "too-large"
        await client.send("subscribe-job", "1")
        assert (await subscribed(await server.accept(), {}))["jobId"] == "1"
