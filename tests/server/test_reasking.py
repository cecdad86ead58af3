"""When an authorizer is asked again about live subscriptions. Times are those of a test's clock."""

from __future__ import annotations

import anyio

from jobws.access.asked import AskedRights, Check
from jobws.access.asked_sight import AskedSight
from jobws.access.scope import Action
from jobws.server.gate import MAX_REQUESTS
from jobws.server.reasking import AT_ONCE
from tests.hub.one_bridge import event
from tests.support.gate import FORBIDDEN, Authorizer, World, on_test_clock


@on_test_clock
async def test_a_live_subscription_is_asked_about_after_its_ttl() -> None:
    world = World(Authorizer("http", ttl=10))
    client = await world.client({"queue": "http", "jobId": "1"}, {"queue": "http", "jobId": "2"})
    await world.ask_again(29)
    assert world.authorizer.times == [0, 0, 10, 20]
    assert [len(checks) for _, checks in world.authorizer.asked] == [1, 1, 2, 2]
    assert client.frames() == []


@on_test_clock
async def test_without_a_ttl_it_is_asked_about_every_60_seconds() -> None:
    world = World(Authorizer("http"))
    await world.client({"queue": "http", "jobId": "1"})
    await world.ask_again(130)
    assert world.authorizer.times == [0, 60, 120]


@on_test_clock
async def test_a_no_ends_a_live_subscription() -> None:
    world = World(Authorizer("http", "analyzer", ttl=10))
    client = await world.client({"queue": "http", "jobId": "1", "sub": "a"}, {"queue": "analyzer", "jobId": "1"})
    world.authorizer.allowed.remove("http")
    await world.ask_again(11)
    data = {**FORBIDDEN, "queue": "http", "jobId": "1"}
    assert client.frames() == [{"event": "ended", "sub": "a", "data": data}]
    world.hub.publish("5-0", event("completed"))
    world.hub.publish("5-0", event("completed"), "analyzer")
    assert [frame["data"]["queue"] for frame in client.frames()] == ["analyzer"]


@on_test_clock
async def test_what_was_left_is_not_asked_about() -> None:
    world = World(Authorizer("http", ttl=10))
    client = await world.client({"queue": "http", "jobId": "1"})
    client.ask("unsubscribe-job", {"queue": "http", "jobId": "1"})
    await world.ask_again(60)
    assert world.authorizer.times == [0]


@on_test_clock
async def test_of_several_queues_those_are_lost_that_are_refused() -> None:
    world = World(Authorizer("http", "analyzer", ttl=10))
    client = await world.client({"jobId": "1"})
    world.authorizer.allowed.remove("http")
    await world.ask_again(11)
    world.hub.publish("5-0", event("completed"))
    world.hub.publish("6-0", event("completed"), "analyzer")
    assert [frame["data"]["queue"] for frame in client.frames()] == ["analyzer"]
    world.authorizer.allowed.clear()
    await world.ask_again(11)
    assert client.frames() == [{"event": "ended", "data": {**FORBIDDEN, "jobId": "1"}}]


@on_test_clock
async def test_a_queue_that_is_found_later_is_judged_when_it_is_found() -> None:
    world = World(Authorizer("http", "new", ttl=3600))
    client = await world.client({"jobId": "1"}, {"queue": "http", "jobId": "2"})
    other = await world.client({"queue": "http", "jobId": "2"})

    async def find() -> None:
        await anyio.sleep(5)
        world.hub.open("new")
        world.hub.open("secret")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(find)
        await world.ask_again(6)
    (_, checks) = world.authorizer.asked[-1]
    assert checks == [Check(Action.READ_JOB, queue, "1") for queue in ("analyzer", "new", "secret")]
    assert len(world.authorizer.asked) == 3
    assert world.doubted == ["new"]
    for queue in ("new", "secret"):
        world.hub.publish("5-0", event("completed"), queue)
    assert [frame["data"]["queue"] for frame in client.frames()] == ["new"]
    assert other.frames() == []


@on_test_clock
async def test_failures_are_retried_for_25_seconds() -> None:
    world = World(Authorizer("http", ttl=10))
    client = await world.client({"queue": "http", "jobId": "1"})
    world.authorizer.fails = True

    async def mend() -> None:
        await anyio.sleep(34)
        assert client.frames() == []
        world.authorizer.fails = False

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mend)
        await world.ask_again(43)
    assert client.frames() == []
    assert len(world.authorizer.asked) in range(20, 27)
    world.authorizer.fails = True
    await world.ask_again(40)
    assert client.frames() == [{"event": "ended", "data": {**FORBIDDEN, "queue": "http", "jobId": "1"}}]


@on_test_clock
async def test_only_what_is_due_ends_after_failures() -> None:
    world = World(Authorizer("http", ttl=10))
    client = await world.client({"queue": "http", "jobId": "1"})
    world.authorizer.ttl = 3600
    await world.subscribe(client, {"queue": "http", "jobId": "2"})
    world.authorizer.failing.add("1")
    await world.ask_again(40)
    assert [frame["data"]["jobId"] for frame in client.frames()] == ["1"]
    assert world.authorizer.times[-1] >= 33


@on_test_clock
async def test_a_request_that_is_refused_ends_what_was_allowed_before() -> None:
    world = World(Authorizer("http"))
    client = await world.client({"queue": "http", "jobId": "1"})
    world.authorizer.allowed.clear()
    await world.judge(client, {"queue": "http", "jobId": "1"})
    assert client.ask("subscribe-job", {"queue": "http", "jobId": "1"}) is None
    await world.ask_again(1)
    assert [frame["event"] for frame in client.frames()] == ["error", "ended"]
    assert len(world.authorizer.asked) == 2


@on_test_clock
async def test_a_client_that_hangs_holds_up_no_other() -> None:
    world = World(Authorizer("http", ttl=10))
    first = await world.client({"queue": "http", "jobId": "1"})
    world.authorizer.held = anyio.Event()

    async def ask_of_another() -> None:
        await anyio.sleep(12)
        assert world.authorizer.times == [0, 10]
        world.authorizer.held = None
        await world.client({"queue": "http", "jobId": "2"}, token=b"bob")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_of_another)
        await world.ask_again(29.9)
    assert [(at, len(checks)) for at, checks in world.authorizer.asked] == [(0, 1), (10, 1), (12, 1), (22, 1)]
    assert first.frames() == []


@on_test_clock
async def test_thousands_of_clients_are_asked_about_as_fast_as_the_authorizer_answers() -> None:
    world = World(Authorizer("http", ttl=10))
    clients = [await world.client({"queue": "http", "jobId": str(number)}) for number in range(1000)]
    await world.ask_again(11)
    assert world.authorizer.times == [0] * 1000 + [10] * 1000
    assert not any(client.frames() for client in clients)


@on_test_clock
async def test_at_most_6_clients_are_asked_about_at_the_same_time() -> None:
    world = World(Authorizer("http", ttl=10))
    for number in range(20):
        await world.client({"queue": "http", "jobId": str(number)})
    world.authorizer.held = anyio.Event()
    await world.ask_again(19.9)
    assert len(world.authorizer.asked) == 20 + AT_ONCE


@on_test_clock
async def test_a_failure_during_a_request_ends_no_live_subscription() -> None:
    world = World(Authorizer("http", ttl=3600))
    client = await world.client({"queue": "http", "jobId": "1"})
    world.gate._verdicts.clear()
    world.authorizer.fails = True
    await world.judge(client, {"queue": "http", "jobId": "1"})
    assert client.ask("subscribe-job", {"queue": "http", "jobId": "1", "sub": "b"}) is None

    async def mend() -> None:
        await anyio.sleep(20)
        world.authorizer.fails = False

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mend)
        await world.ask_again(60)
    assert [frame["event"] for frame in client.frames()] == ["error"]
    world.hub.publish("5-0", event("completed"))
    assert [frame["event"] for frame in client.frames()] == ["completed"]


@on_test_clock
async def test_requests_without_end_do_not_keep_subscriptions_from_being_asked_about() -> None:
    world = World(Authorizer("http", ttl=10))
    client = await world.client({"queue": "http", "jobId": "1"})
    world.authorizer.held_tokens = {str(number) for number in range(MAX_REQUESTS)}

    async def flood(token: str) -> None:
        await world.may_read(token=token.encode())

    async with anyio.create_task_group() as tasks:
        for token in world.authorizer.held_tokens:
            tasks.start_soon(flood, token)
        await world.ask_again(60)
        tasks.cancel_scope.cancel()
    assert client.frames() == []


@on_test_clock
async def test_answers_about_a_token_that_was_replaced_meanwhile_do_not_count() -> None:
    world = World(Authorizer("http", ttl=10))
    client = await world.client({"queue": "http", "jobId": "1"})
    world.authorizer.held = held = anyio.Event()

    async def replace_token() -> None:
        await anyio.sleep(12)
        world.authorizer.held = None
        bob = world.rights(b"bob").rights
        assert isinstance(bob, AskedRights)
        await bob.judge(lambda each: client.hub_client.examine(AskedSight(each)))
        client.hub_client.take_rights(AskedSight(bob))
        world.authorizer.allowed.clear()
        held.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(replace_token)
        await world.ask_again(20.9)
    assert world.authorizer.times == [0, 10, 12]
    assert client.frames() == []
