"""Clients of a bridge with an authorizer: while it is asked, and when it allows something no longer."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio

from jobws.access.asked import AskedRights, Check
from jobws.access.asked_sight import AskedSight
from jobws.access.carrier import Carried, Carrier
from jobws.access.identity import allows
from jobws.access.scope import Action
from jobws.server.judging import judge
from jobws.server.websocket.asked_client import asked_rights, judge_message
from tests.support import eventually
from tests.support.authorizer import (
    ANN,
    FORBIDDEN,
    HEADERS,
    JOB,
    SEES,
    Authorizer,
    answers,
    asking_bridge,
    get,
    reads,
)
from tests.support.client import raw_client
from tests.support.gate import Authorizer as FakeAuthorizer
from tests.support.gate import World, on_test_clock
from tests.support.http import ask
from tests.support.tokens import seconds_left
from tests.support.waiting import finish

if TYPE_CHECKING:
    from jobws.access.identity import Identity
    from tests.support.redis import Redis


async def test_the_messages_of_a_client_keep_their_order(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = {"read:jobs http/1"}
    async with (
        asking_bridge(jobs.url, authorizer) as live,
        raw_client(live.url, headers=HEADERS) as client,
        raw_client(live.url, headers=HEADERS) as other,
    ):
        authorizer.open.clear()
        asked = (
            *(("subscribe-job", {**JOB, "events": ["none"]}), ("ping", None)),
            ("subscribe-job", {"jobs": ["1", "2"], "events": ["none"]}),
            *(("unsubscribe-job", JOB), ("ping", None), ("subscribe-job", "2")),
        )
        for ref, (event, data) in enumerate(asked):
            await client.send(event, data, ref=ref)
        await eventually(lambda: len(authorizer.asked) == 3)
        assert await answers(other, ("ping", None)) == [(0, "pong")]
        with pytest.raises(trio.WouldBlock):
            client._received.receive_nowait()
        authorizer.open.set()
        assert await answers(other, ("subscribe-job", JOB)) == [(0, "ack")]
        frames = {(frame := await client.receive())["ref"]: frame["data"] for _ in asked}
    assert [each["error"] for each in frames[2]["results"][1:]] == [FORBIDDEN]
    assert frames[3]["left"] is True
    assert frames[5]["code"] == "forbidden"


@on_test_clock
async def test_a_message_is_judged_again_if_a_new_token_came_meanwhile() -> None:
    world = World(FakeAuthorizer("http"))
    client = await world.client()
    bob = world.rights(b"bob").rights
    assert isinstance(bob, AskedRights)
    world.authorizer.held = anyio.Event()
    async with anyio.create_task_group() as tasks:
        message = json.dumps({"event": "subscribe-job", "data": JOB})
        tasks.start_soon(judge_message, client.hub_client, message)
        await anyio.wait_all_tasks_blocked()
        client.hub_client.session.sight = AskedSight(bob)
        world.authorizer.held.set()
    assert [each for _, checks in world.authorizer.asked for each in checks] == [
        Check(Action.READ_JOB, "http", "1")
    ] * 2
    assert bob.include(Action.READ_JOB, "http", "1")


@pytest.mark.parametrize("direct", [True, False])
async def test_a_client_that_leaves_while_it_is_asked_leaves_nothing(
    redis: Redis, authorizer: Authorizer, *, direct: bool
) -> None:
    authorizer.allowed = None
    async with asking_bridge(redis.url, authorizer, direct=direct) as live:
        async with raw_client(live.url, headers=HEADERS) as client:
            authorizer.open.clear()
            await client.send("subscribe-job", JOB)
            await eventually(lambda: len(authorizer.asked) == 2)
            await client.socket._stream.aclose()
        authorizer.open.set()
        await eventually(lambda: not live.bridge.clients.connected)
        async with raw_client(live.url, headers=HEADERS) as another:
            assert await answers(another, ("subscribe-job", {**JOB, "jobId": "2"})) == [(0, "ack")]
        await eventually(lambda: not live.bridge.fanout.rooms)


async def test_a_client_that_was_cut_off_while_it_is_asked_is_not_served(redis: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = None
    async with asking_bridge(redis.url, authorizer) as live, raw_client(live.url, headers=HEADERS) as client:
        (hub_client,) = live.bridge.clients.connected
        authorizer.open.clear()
        await client.send("subscribe-job", JOB)
        await eventually(lambda: len(authorizer.asked) == 2)
        connected: Any = hub_client.outbox.wake
        connected.__self__._direct.cut()
        authorizer.open.set()
        async with raw_client(live.url, headers=HEADERS) as another:
            assert await answers(another, ("ping", None)) == [(0, "pong")]
        assert not live.bridge.fanout.rooms
        assert not hub_client.keys


async def test_the_answers_of_a_request_are_kept_until_it_was_served(redis: Redis, authorizer: Authorizer) -> None:
    def look(identity: Identity) -> bool:
        return allows(identity, Action.READ_JOB, "http", "1")

    authorizer.allowed, authorizer.ttl = None, 0.1
    async with asking_bridge(redis.url, authorizer) as live, raw_client(live.url, headers=HEADERS) as other:
        await answers(other, ("subscribe-job", JOB))
        identity = await live.bridge.authentication.identify(Carried(Carrier.HEADER, "ann"))
        identity = await judge(identity, look)
        with live.bridge.service.client(None, identity, None) as client:
            rights = asked_rights(client.hub_client)
            assert rights is not None
            asked = len(authorizer.asked)
            await eventually(lambda: len(authorizer.asked) > asked + 2)  # about the other client
            assert rights.verdicts
            client.asked()
            await eventually(lambda: not rights.verdicts)
        assert look(identity)


async def test_the_7th_question_of_one_client_is_unavailable(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = None
    async with asking_bridge(jobs.url, authorizer) as live:
        async with raw_client(live.url, headers=HEADERS) as client, anyio.create_task_group() as tasks:
            authorizer.open.clear()
            for number in range(6):
                tasks.start_soon(get, f"{live.url}/jobs/http/{number}")
            await eventually(lambda: len(authorizer.asked) == 7)
            assert await get(live.url + "/jobs/http/1") == (503, "unavailable")
            assert await get(live.url + "/readyz") == (200, {"ready": True, "problems": {}})
            requests = [("subscribe-job", "1")] * 30
            assert await answers(client, *requests) == [(ref, "unavailable") for ref in range(30)]
            assert await answers(client, ("ping", None)) == [(0, "pong")]
            authorizer.open.set()
        async with raw_client(live.url, headers=HEADERS) as client:
            assert await answers(client, ("subscribe-job", JOB)) == [(0, "ack")]
    assert len(authorizer.asked) == 9


# ---- what is allowed no longer ----


async def test_a_live_subscription_ends_when_it_is_allowed_no_longer(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed, authorizer.ttl = {"read:jobs http/1", "read:jobs http/2"}, 0.1
    async with asking_bridge(jobs.url, authorizer) as live, raw_client(live.url, headers=HEADERS) as client:
        await answers(client, ("subscribe-job", {**JOB, "jobId": "2", "sub": "a"}))
        await answers(client, ("subscribe-job", {**JOB, "events": ["none"]}))
        authorizer.allowed = {"read:jobs http/1"}
        ended = await client.receive()
        assert ended == {"event": "ended", "sub": "a", "data": {**FORBIDDEN, "queue": "http", "jobId": "2"}}
        jobs.add_event("http", "completed", "2", returnvalue="1")
        assert await answers(client, ("subscribe-job", JOB)) == [(0, "ack")]
        assert (await client.receive())["data"]["jobId"] == "1"


async def test_a_subscription_to_the_log_ends_too(redis: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed, authorizer.ttl = {"read:logs http", "read:logs sparql"}, 0.1
    async with (
        asking_bridge(redis.url, authorizer) as live,
        raw_client(live.url, headers=HEADERS, path="/logs") as client,
    ):
        assert await answers(client, ("subscribe-logs", {})) == [(0, "ack")]
        authorizer.allowed = {"read:logs sparql"}
        await eventually(lambda: {"http"} < {each.queue for each in authorizer.posts[-1]})
        asked = len(authorizer.asked)
        await eventually(lambda: len(authorizer.asked) > asked + 1)
        redis.add_log("secret", queue="http")
        redis.add_log("a line", queue="sparql")
        assert (await client.receive())["data"]["message"] == "a line"
        authorizer.allowed = ()
        assert await client.receive() == {"event": "ended", "data": FORBIDDEN}


async def test_the_outcome_of_a_job_in_a_queue_that_is_found_later_is_not_missed(
    redis: Redis, authorizer: Authorizer
) -> None:
    """It is there before the authorizer was asked about the queue."""
    redis.make_queue("http")
    redis.add_job("http", "1", state="active")
    authorizer.allowed = {"read:jobs http/1", "read:jobs new/1"}
    settings: dict[str, Any] = {"queues": ("*",), "discover_seconds": 0.05}
    async with (
        asking_bridge(redis.url, authorizer, **settings) as live,
        raw_client(live.url, headers=HEADERS) as client,
    ):
        assert await answers(client, ("subscribe-job", "1")) == [(0, "ack")]
        for queue in ("new", "secret"):
            redis.make_queue(queue)
            finish(redis, "1", "completed", queue, returnvalue="1")
        frame = await client.receive()
        assert (frame["event"], frame["data"]["queue"]) == ("completed", "new")
        finish(redis, "1", "completed", returnvalue="1")
        assert (await client.receive())["data"]["queue"] == "http"


async def test_requests_that_wait_end_when_they_are_allowed_no_longer(redis: Redis, authorizer: Authorizer) -> None:
    redis.add_job("http", "1", state="active")
    authorizer.allowed, authorizer.ttl = {"read:jobs http/1"}, 0.1
    async with asking_bridge(redis.url, authorizer) as live, anyio.create_task_group() as tasks:
        found: list[Any] = []

        async def wait() -> None:
            found.append(await get(live.url + "/jobs/http/1?wait=50"))

        async def stream() -> None:
            found.append(await ask(live.url + "/events?job=1&queue=http", **ANN))

        tasks.start_soon(wait)
        tasks.start_soon(stream)
        await eventually(lambda: len(live.bridge.clients.connected) == 2)
        asked = len(authorizer.asked)
        await eventually(lambda: len(authorizer.asked) > asked + 4)
        assert not found
        authorizer.allowed = ()
        await eventually(lambda: len(found) == 2)
    assert (403, "forbidden") in found
    ((status, events),) = [each for each in found if each[0] == 200]
    assert (status, "event: ended" in events) == (200, True)


async def test_a_request_that_waits_goes_on_while_it_is_allowed(redis: Redis, authorizer: Authorizer) -> None:
    redis.add_job("http", "1", state="active")
    authorizer.allowed, authorizer.ttl = {"read:jobs http/1", "read:jobs sparql/1"}, 0.1
    async with asking_bridge(redis.url, authorizer) as live, anyio.create_task_group() as tasks:

        async def get_held(path: str, held: list[Any]) -> None:
            held.append(await get(live.url + path))

        held: list[Any] = []
        tasks.start_soon(get_held, "/jobs/1?wait=50", held)
        asked = 1
        await eventually(lambda: len(authorizer.asked) > asked + 2)
        finish(redis, "1", "completed", returnvalue="42")
        await eventually(lambda: bool(held))
    assert held[0][1]["jobs"][0]["returnvalue"] == 42


async def test_a_later_expiry_counts_when_the_earlier_one_comes(redis: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed, authorizer.ttl, authorizer.extra = None, 3600, {"exp": time.time() + 2}
    async with asking_bridge(redis.url, authorizer) as live, raw_client(live.url, headers=HEADERS) as client:
        assert (await client.receive())["event"] == "expiring"
        assert await answers(client, ("subscribe-job", JOB)) == [(0, "ack")]
        authorizer.extra = {"exp": time.time() + 3600}
        (hub_client,) = live.bridge.clients.connected
        await eventually(lambda: seconds_left(live, hub_client) > 100)
        assert await answers(client, ("subscribe-job", "2")) == [(0, "ack")]


async def test_an_expiry_counts_that_the_authorizer_names_later(redis: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed = None
    async with asking_bridge(redis.url, authorizer) as live, raw_client(live.url, headers=HEADERS) as client:
        (hub_client,) = live.bridge.clients.connected
        assert seconds_left(live, hub_client) == 0
        authorizer.extra = {"exp": time.time() + 3600, "sub": "ann"}
        assert await answers(client, ("subscribe-job", JOB)) == [(0, "ack")]
        await eventually(lambda: seconds_left(live, hub_client) > 100)
        assert hub_client.payer == (None, "ann")


async def test_a_new_token_is_judged_as_a_whole(jobs: Redis, authorizer: Authorizer) -> None:
    authorizer.allowed, authorizer.ttl = None, 3600
    async with asking_bridge(jobs.url, authorizer) as live, raw_client(live.url, headers=HEADERS) as client:
        await client.ask("subscribe-job", {"jobs": ["2", "3"], "queue": "http"})
        authorizer.allowed = {"read:jobs http/3", "read:queues http"}
        ended, answer = await client.until_answered("authenticate", {"token": "bob"})
        assert ended["data"] == {**FORBIDDEN, "queue": "http", "jobId": "2"}
        assert answer["data"]["queues"] == ["http"]
    assert authorizer.posts[-1] == [
        *(each._replace(token="bob") for each in SEES),
        *(reads(job_id, token="bob") for job_id in "23"),
    ]
