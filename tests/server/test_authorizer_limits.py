"""Clients of a bridge with an authorizer that send much, and an authorizer that answers nonsense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread
import pytest
import trio

from jobws.protocol.nesting import MAX_LEVELS
from jobws.server.websocket import admission
from tests.bench.steps import Recorder
from tests.support import eventually
from tests.support.authorizer import ANN, HEADERS, JOB, Authorizer, answers, asking_bridge, get
from tests.support.client import raw_client
from tests.support.event_source import frame_source
from tests.support.http import call, exchange
from tests.support.http_server import Reply
from tests.support.nested import nested_text
from tests.support.signing import SECRET
from tests.support.tokens import bearer

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_texts_that_nobody_knows_as_tokens_have_the_limits_of_their_address(redis: Redis) -> None:
    settings: dict[str, Any] = {"requests_per_minute": 3, "trusted_proxies": ("127.0.0.1",)}
    with Authorizer() as authorizer:
        async with asking_bridge(redis.url, authorizer, **settings) as live:

            async def status(token: str, address: str) -> int:
                headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
                return (await call("GET", live.url + "/jobs/http/1", **headers))[0]

            assert [await status(f"guess{number}", "192.0.2.1") for number in range(5)] == [403, 403, 403, 429, 429]
            assert await status("ann", "192.0.2.2") == 403
    assert len(authorizer.asked) == 4


CROWDED: Final = (4003, "1 connections have not authenticated yet (max_unauthenticated)")
KEY: Final[dict[str, Any]] = {"jwt_secret": SECRET.decode()}


async def test_a_connection_counts_as_one_without_a_token_while_the_authorizer_is_asked_whose_it_is(
    redis: Redis,
) -> None:
    with Authorizer() as authorizer:
        authorizer.open.clear()
        async with (
            asking_bridge(redis.url, authorizer, max_unauthenticated=1) as live,
            raw_client(live.url, headers=HEADERS, hello=False) as client,
        ):
            await eventually(lambda: bool(authorizer.asked))
            async with raw_client(live.url, headers=[("Authorization", "Bearer guess")]) as other:
                assert await other.closed() == CROWDED
            assert len(authorizer.asked) == 1, "the authorizer is not asked about it"
            authorizer.open.set()
            assert (await client.receive())["event"] == "hello"
            for token in ("ann", "bob"):
                async with raw_client(live.url, headers=[("Authorization", f"Bearer {token}")]) as other:
                    assert (await other.ask("ping"))["event"] == "pong"
            assert live.bridge.limited["max_unauthenticated"] == 1


@pytest.mark.parametrize("carrier", ["header", "authenticate"])
async def test_so_it_does_as_long_as_the_authorizer_gives_no_answer(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, carrier: str
) -> None:
    """The bridge asks again by itself, since the client may be waiting for something to subscribe to."""
    monkeypatch.setattr(admission, "LOOK_SECONDS", 0.05)
    headers = HEADERS if carrier == "header" else ()
    with Authorizer() as authorizer:
        authorizer.reply = Reply([b"down"], 503)
        async with (
            asking_bridge(redis.url, authorizer, max_unauthenticated=1, authenticate_seconds=0.5) as live,
            raw_client(live.url, headers=headers) as client,
        ):
            if carrier == "authenticate":
                assert (await client.ask("authenticate", {"token": "ann"}))["event"] == "ack"
            async with raw_client(live.url, headers=HEADERS) as other:
                assert await other.closed() == CROWDED
            authorizer.reply = None
            await eventually(lambda: not live.bridge._admission.strangers)
            async with raw_client(live.url) as other:
                assert (await other.ask("ping"))["event"] == "pong"
            await anyio.sleep(1)
            assert (await client.ask("ping"))["event"] == "pong", "it has a token, so it is not closed after 0.5 s"


async def test_a_verified_token_needs_no_answer(redis: Redis) -> None:
    with Authorizer() as authorizer:
        authorizer.reply = Reply([b"down"], 503)
        async with (
            asking_bridge(redis.url, authorizer, max_unauthenticated=0, **KEY) as live,
            raw_client(live.url, headers=[*bearer("write:logs").items()]) as client,
        ):
            assert (await client.ask("ping"))["event"] == "pong"


async def test_where_there_is_no_queue_the_authorizer_is_not_asked_and_nobody_waits_for_it(redis: Redis) -> None:
    with Authorizer() as authorizer:
        async with (
            asking_bridge(redis.url, authorizer, max_unauthenticated=1, queues=("*",)) as live,
            raw_client(live.url, headers=HEADERS),
            raw_client(live.url, headers=HEADERS) as client,
        ):
            assert (await client.ask("ping"))["event"] == "pong"


async def test_a_body_of_many_requests_holds_up_no_other_client(redis: Redis) -> None:
    body = [{"event": "subscribe-job", "data": ["1"] * 1000}] * 95
    with Authorizer() as authorizer:
        async with asking_bridge(redis.url, authorizer) as live:
            recorder = Recorder()
            trio.lowlevel.add_instrument(recorder)
            answer = await anyio.to_thread.run_sync(exchange, "POST", live.url + "/events?wait=0", body, ANN)
            trio.lowlevel.remove_instrument(recorder)
    assert (answer.status, answer.content()["detail"]) == (
        400,
        "the authorizer would be asked more than 10000 questions; name the `queue` of each job",
    )
    assert recorder.take()["longest"] < 60, "to go through the body takes 400 ms"


@pytest.mark.parametrize("body", [b'{"x":' + b"[" * 200_000, b"\xff", b"null"])
async def test_an_answer_that_is_nested_too_deep_or_no_json_is_a_no(redis: Redis, body: bytes) -> None:
    with Authorizer() as authorizer:
        authorizer.reply = Reply([body])
        async with asking_bridge(redis.url, authorizer) as live, raw_client(live.url, headers=HEADERS) as client:
            assert await get(live.url + "/jobs/http/1") == (403, "forbidden")
            assert await answers(client, ("subscribe-job", JOB)) == [(0, "forbidden")]


async def test_an_answer_is_nested_as_deep_as_json_may_be(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    redis.add_job("http", "1")
    with Authorizer() as authorizer:
        async with asking_bridge(redis.url, authorizer) as live:
            for levels, status in ((MAX_LEVELS, 200), (MAX_LEVELS + 1, 403)):
                deep = '{"checks": [{"allow": true}], "x": ' + nested_text(levels - 1) + "}"
                authorizer.reply = Reply([deep.encode()])
                assert (await get(live.url + "/jobs/http/1"))[0] == status
    assert caplog.messages[-1] == (
        "the authorizer allows nothing now: the answer is wrong: the JSON is nested too deep; it may have 512 levels"
    )


async def test_a_body_that_is_served_slowly_keeps_no_right_that_was_taken_back(redis: Redis) -> None:
    """Its first request subscribes. The others, which are all refused, take a minute."""
    slow = {"event": "subscribe-job", "data": {"queue": "http", "jobs": [""] * 1000}}
    body = [{"event": "subscribe-job", "data": JOB}, *[slow] * 60]
    with Authorizer("read:jobs http/1", ttl=0.1) as authorizer:
        async with (
            asking_bridge(redis.url, authorizer) as live,
            frame_source(live.url, body, headers=ANN) as source,
        ):
            while (await source.frame())["event"] != "ack":
                pass
            authorizer.allowed = ()
            with anyio.fail_after(40):
                while (frame := await source.frame())["event"] != "ended":
                    pass
    assert frame["data"]["code"] == "forbidden"
