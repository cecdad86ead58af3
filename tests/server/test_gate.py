"""What is asked of an authorizer, and for how long its answers are kept. Times are those of a test's clock."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import anyio
import pytest
import trio
import trio.testing

from jobws.access.asked import MAX_CHECKS, Check, TokenInfo, Verdict
from jobws.access.identity import Identity, allows
from jobws.access.scope import Action
from jobws.errors import RequestError
from jobws.server.gate import CACHED, MAX_OF_ONE, MAX_REQUESTS
from jobws.server.judging import judge
from tests.support.gate import ANN, Authorizer, World, on_test_clock


@on_test_clock
async def test_an_answer_is_kept_for_its_ttl() -> None:
    world = World(Authorizer("http", ttl=30))
    assert [await world.may_read(), await world.may_read()] == [True, True]
    assert not await world.may_read("analyzer")
    assert await world.may_read(token=b"bob")
    await anyio.sleep(29.9)
    assert await world.may_read()
    assert world.authorizer.times == [0, 0, 0]
    await anyio.sleep(0.1)
    assert await world.may_read()
    assert world.authorizer.times == [0, 0, 0, 30]


@on_test_clock
async def test_without_a_ttl_each_request_asks() -> None:
    world = World(Authorizer("http"))
    assert [await world.may_read(), await world.may_read()] == [True, True]
    world.authorizer.allowed.clear()
    assert not await world.may_read()
    assert len(world.authorizer.asked) == 3


@on_test_clock
async def test_a_no_is_kept_for_5_seconds_at_most() -> None:
    world = World(Authorizer(ttl=3600))
    assert not await world.may_read()
    world.authorizer.allowed.add("http")
    await anyio.sleep(4.9)
    assert not await world.may_read()
    await anyio.sleep(0.1)
    assert await world.may_read()
    assert world.authorizer.times == [0, 5]


@on_test_clock
async def test_no_answer_is_kept_when_its_token_has_expired() -> None:
    """However long its `ttl` is."""
    world = World(Authorizer("http", ttl=3600))
    world.authorizer.token_info = TokenInfo(None, round(time.time() * 1000) - 1)
    assert [await world.may_read(), await world.may_read()] == [True, True]
    assert world.authorizer.times == [0, 0]


@on_test_clock
async def test_a_later_answer_replaces_one_that_is_kept() -> None:
    world = World(Authorizer("http", ttl=3600))
    client = await world.client({"queue": "http", "jobId": "1"})
    world.authorizer.allowed.clear()
    world.authorizer.ttl = 0
    await world.ask_again(3601)
    assert [frame["event"] for frame in client.frames()] == ["ended"]
    world.authorizer.allowed.add("http")
    assert await world.may_read()
    assert world.authorizer.times == [0, 3600, 3601]


@on_test_clock
async def test_the_oldest_of_10000_answers_is_dropped() -> None:
    world = World(Authorizer("http", ttl=3600))
    assert await world.may_read(job_id="first")
    others = {
        Check(Action.READ_JOB, "http", str(number)): Verdict(allow=True, until=99, again=99)
        for number in range(CACHED - 1)
    }
    world.gate._keep(b"bob", others, TokenInfo(None, None), 0)
    assert await world.may_read(job_id="first")
    assert len(world.authorizer.asked) == 1
    assert await world.may_read(job_id="one more")
    assert await world.may_read(job_id="first")
    assert len(world.authorizer.asked) == 3
    assert len(world.gate._verdicts) == CACHED


@on_test_clock
async def test_who_holds_a_token_is_known_for_as_long_as_its_answers_count() -> None:
    world = World(Authorizer("http", ttl=3600))
    assert await world.may_read()
    for number in range(CACHED):
        world.gate._keep(str(number).encode(), {}, TokenInfo(None, None), 0)
    assert await world.may_read()
    assert len(world.authorizer.asked) == 2


@on_test_clock
async def test_no_client_takes_all_places_and_requests_leave_some_to_subscriptions() -> None:
    world = World(Authorizer("http", ttl=60))
    assert await world.may_read(job_id="kept")
    world.authorizer.held = anyio.Event()
    answers: list[bool] = []

    async def read(token: bytes, job_id: str) -> None:
        answers.append(await world.may_read(job_id=job_id, token=token))

    refused: list[tuple[str, str]] = []
    async with anyio.create_task_group() as tasks:
        for token, count in ((b"ann", MAX_OF_ONE), (b"bob", MAX_REQUESTS - MAX_OF_ONE)):
            for number in range(count):
                tasks.start_soon(read, token, str(number))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(RequestError) as error:
                await world.may_read(job_id="one more", token=b"ann" if token == b"ann" else b"eve")
            refused.append((error.value.code, error.value.message))
        assert await world.may_read(job_id="kept")
        world.authorizer.held.set()
    assert refused == [
        ("unavailable", f"the authorizer is being asked {count} questions already; send the request again")
        for count in (6, 10)
    ]
    assert answers == [True] * MAX_REQUESTS
    assert await world.may_read(job_id="one more")
    assert world.gate.counts == {"asked": 12, "unavailable": 2}
    assert not world.gate._asking


@on_test_clock
async def test_a_request_that_is_cancelled_leaves_its_place() -> None:
    world = World(Authorizer("http"))
    world.authorizer.held = anyio.Event()
    for _ in range(MAX_REQUESTS + 1):
        with anyio.move_on_after(1):
            await world.may_read()
    world.authorizer.held = None
    assert await world.may_read()


@on_test_clock
async def test_what_names_no_queue_waits_until_the_queues_are_known() -> None:
    world = World(Authorizer("new"))
    world.unknown.append("new")
    client = await world.client()
    await world.judge(client, {"queue": "http", "jobId": "1"})
    assert world.unknown
    await world.subscribe(client, "1")
    assert [check.queue for _, checks in world.authorizer.asked for check in checks] == [
        *("http", "http", "analyzer", "new"),
    ]


@on_test_clock
async def test_nothing_is_kept_for_clients_that_share_no_token() -> None:
    world = World(Authorizer("http", ttl=60))
    assert [await world.may_read(token=b"") for _ in range(2)] == [True, True]
    assert len(world.authorizer.asked) == 2


@on_test_clock
async def test_a_failure_is_a_no_and_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    world = World(Authorizer("http", ttl=60))
    world.authorizer.fails = True
    assert [await world.may_read(), await world.may_read()] == [False, False]
    world.authorizer.fails = False
    assert await world.may_read()
    world.authorizer.failing.add("2")
    assert [await world.may_read(job_id=job_id) for job_id in "234"] == [False, True, True]
    world.authorizer.fails = True
    assert not await world.may_read(job_id="5")
    sentence = "the authorizer allows nothing now: it is broken"
    assert [each.getMessage() for each in caplog.records] == [sentence, sentence]


@on_test_clock
async def test_a_request_may_need_10000_answers() -> None:
    world = World(Authorizer("http"))

    def look(count: int, each: Identity) -> bool:
        answers = [allows(each, Action.READ_JOB, "http", str(number)) for number in range(count)]
        return all(answers)

    assert look(MAX_CHECKS, await judge(world.rights(), partial(look, MAX_CHECKS)))
    with pytest.raises(RequestError) as refused:
        await judge(world.rights(), partial(look, MAX_CHECKS + 1))
    assert (refused.value.code, refused.value.message) == (
        "too-many",
        "the authorizer would be asked more than 10000 questions; name the `queue` of each job",
    )
    assert [len(checks) for _, checks in world.authorizer.asked] == [MAX_CHECKS]


@on_test_clock
async def test_a_request_that_needs_too_many_answers_is_not_gone_through_to_its_end() -> None:
    world = World(Authorizer("http"))
    gone_through: list[int] = []

    def look(each: Identity) -> None:
        for number in range(2 * MAX_CHECKS):
            allows(each, Action.READ_JOB, "http", str(number % 10))
            gone_through.append(number)

    with pytest.raises(RequestError, match="more than 10000 questions"):
        await judge(world.rights(), look)
    assert len(gone_through) == MAX_CHECKS
    assert not world.authorizer.asked


@on_test_clock
async def test_what_the_authorizer_says_of_a_token_completes_the_identity() -> None:
    world = World(Authorizer("http"))
    world.authorizer.token_info = TokenInfo("ann of the authorizer", 7_000)
    opaque = Identity(iss=None, sub=None, rights=ANN.rights, expires_ms=None, token_hash=b"opaque")
    known = replace(opaque, sub="ann", expires_ms=5_000)

    async def completed(verified: Identity) -> tuple[str | None, int | None]:
        found = await judge(world.gate.of(verified, "t"), lambda each: allows(each, Action.READ_JOB, "http"))
        return found.sub, found.expires_ms

    assert await completed(opaque) == ("ann of the authorizer", 7_000)
    assert await completed(known) == ("ann", 5_000)
    assert await completed(replace(known, expires_ms=9_000)) == ("ann", 7_000)
