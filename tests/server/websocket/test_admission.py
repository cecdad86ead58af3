"""Tokens over WebSockets: before one, with one, when it expires, is renewed, or is revoked."""

from __future__ import annotations

import hashlib
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from jobws.protocol.close_codes import CloseCode
from jobws.server.intervals import USUAL_INTERVALS
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.tokens import bearer, jwt, keyed_bridge, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from jobws.access.carrier import Carried
    from jobws.access.identity import Identity
    from tests.support.client import Frame, RawClient
    from tests.support.redis import Redis

FORBIDDEN = {"code": "forbidden", "message": "the token does not allow this"}
BAD = {
    "code": "bad-token",
    "message": "the token is not accepted; the bridge's log says why",
    "request": "authenticate",
}
PATHS = ("/ws", "/logs")
QUEUES = ("http", "analyzer")
TOKENS = tuple("jobws_" + letter * 43 for letter in "ab")


def error(code: str, message: str, request: str) -> Frame:
    return {"event": "error", "data": {"code": code, "message": message, "request": request}}


async def authenticate(client: RawClient, token: str) -> Frame:
    return await client.ask("authenticate", {"token": token})


@pytest.mark.parametrize("path", PATHS)
async def test_before_a_token_nothing_is_sent(redis: Redis, path: str) -> None:
    async with (
        keyed_bridge(redis.url, queues=QUEUES) as live,
        raw_client(live.url, path=path, hello=False) as client,
    ):
        hello = (await client.receive())["data"]
        assert (hello["auth"], hello["queues"], hello["queueCount"], "withoutEvents" in hello) == (True, [], 0, False)
        assert (await client.ask("ping"))["event"] == "pong"
        for name in ("subscribe-job", "subscribe-logs", "unsubscribe-job", "anything"):
            sentence = "this needs a token; send `authenticate` first"
            assert await client.ask(name, "1") == error("unauthenticated", sentence, name)
        for data in (None, "text", {}, {"token": 7}):
            sentence = "expected an object with `token`, a string"
            assert await client.ask("authenticate", data) == error("bad-data", sentence, "authenticate")
        assert await authenticate(client, "x") == {"event": "error", "data": BAD}
        ack = await authenticate(client, jwt("read:jobs:http/1 read:logs:http"))
        assert ack["data"]["request"] == "authenticate"
        assert (ack["data"]["queues"], ack["data"]["queueCount"]) == (["http"], 1)
        assert ack["data"]["expires"] > time.time() * 1000
        request = ("subscribe-job", "1") if path == "/ws" else ("subscribe-logs", None)
        assert (await client.ask(*request))["event"] == "ack"


async def test_messages_before_a_token_are_small(redis: Redis) -> None:
    async with keyed_bridge(redis.url) as live, raw_client(live.url) as client:
        assert await authenticate(client, "x" * 16 * 1024) == {"event": "error", "data": BAD}
        assert (await authenticate(client, jwt("admin")))["event"] == "ack"
        assert (await authenticate(client, "x" * 32 * 1024))["event"] == "error"
        async with raw_client(live.url) as other:
            await other.send("authenticate", {"token": "x" * 18 * 1024})
            assert await other.closed() == (CloseCode.MESSAGE_TOO_BIG, "a message may have 17408 bytes")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("direct", [True, False])
async def test_without_a_token_in_time_the_connection_ends(redis: Redis, path: str, *, direct: bool) -> None:
    async with (
        keyed_bridge(redis.url, authenticate_seconds=0.1, direct=direct) as live,
        raw_client(live.url, path=path) as client,
    ):
        assert await client.closed() == (4500, "no token came within 0.1 s")


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("nonsense", (4500, "the token is not accepted; the bridge's log says why")),
        (jwt("read:jobs:*", seconds=-60), (4001, "the token has expired")),
    ],
)
async def test_a_token_that_is_refused_at_the_handshake(redis: Redis, token: str, expected: Any) -> None:
    async with keyed_bridge(redis.url) as live:
        for handshake in (
            {"subprotocols": ("jobws.v1", f"bearer.{token}")},
            {"headers": (("Authorization", f"Bearer {token}"),)},
        ):
            async with raw_client(live.url, hello=False, **handshake) as client:
                hello = await client.receive()
                assert (hello["event"], hello["data"]["auth"], hello["data"]["queues"]) == ("hello", True, [])
                assert await client.closed() == expected


async def test_the_subprotocol_of_the_token_is_not_answered(redis: Redis) -> None:
    token = jwt("read:jobs:http")
    async with (
        keyed_bridge(redis.url, queues=QUEUES) as live,
        raw_client(live.url, hello=False, subprotocols=(f"bearer.{token}", "jobws.v1")) as client,
    ):
        hello = (await client.receive())["data"]
        assert ("auth" in hello, hello["queues"], hello["queueCount"]) == (False, ["http"], 1)
        assert client.socket.subprotocol == "jobws.v1"


async def test_a_bridge_without_keys_takes_every_token(redis: Redis) -> None:
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        ack = await authenticate(client, "anything")
        assert (ack["data"]["expires"], len(ack["data"]["queues"])) == (None, 4)


async def test_a_token_expires(redis: Redis) -> None:
    """It is valid for two seconds. What is subscribed goes on in the grace time, in which another token is taken."""
    async with keyed_bridge(redis.url, queues=QUEUES, expiring_seconds=60, grace_seconds=2) as live:
        token = jwt("read:jobs:http read:logs", seconds=2)
        async with raw_client(live.url) as client, raw_client(live.url) as other:
            expires = (await authenticate(client, token))["data"]["expires"]
            assert await client.receive() == {"event": "expiring", "data": {"expires": expires}}
            assert (await client.ask("subscribe-job", {"jobId": "1", "queue": "http"}))["event"] == "ack"
            await authenticate(other, token)
            while (answer := await client.ask("subscribe-job", "2"))["event"] == "ack":
                await anyio.sleep(0.02)
            assert time.time() * 1000 >= expires
            sentence = "the token has expired; send `authenticate` with a new one"
            assert answer == error("expired", sentence, "subscribe-job")
            stream_id = redis.add_event("http", "completed", "1")
            assert (await client.receive())["id"] == stream_id
            assert (await client.ask("ping"))["event"] == "pong"
            assert (await client.ask("unsubscribe-job", "2"))["event"] == "ack"
            assert (await authenticate(client, jwt("read:jobs:http")))["event"] == "ack"
            assert (await client.ask("subscribe-job", "2"))["event"] == "ack"
            assert await other.closed() == (4001, "the token has expired")
            assert (await client.ask("ping"))["event"] == "pong"


async def test_a_new_token_replaces_the_old_one_whole(redis: Redis) -> None:
    async with keyed_bridge(redis.url, queues=QUEUES) as live, raw_client(live.url) as client:
        await authenticate(client, jwt("read:jobs:http read:jobs:analyzer/1"))
        for item in (
            {"jobId": "1", "queue": "http", "sub": 1},
            {"jobId": "1", "queue": "analyzer", "sub": "two"},
            {"jobId": "1", "events": ["*"]},
        ):
            assert (await client.ask("subscribe-job", item))["event"] == "ack"
        assert (await client.ask("subscribe-queue", "http"))["event"] == "ack"
        assert await authenticate(client, "bad") == {"event": "error", "data": BAD}
        await client.send("authenticate", {"token": jwt("read:jobs:analyzer/1")})
        assert [await client.receive() for _ in range(2)] == [
            {"event": "ended", "sub": 1, "data": {**FORBIDDEN, "queue": "http", "jobId": "1"}},
            {"event": "ended", "data": {**FORBIDDEN, "queue": "http"}},
        ]
        assert (await client.receive())["data"]["queues"] == ["analyzer"]
        redis.add_event("http", "completed", "1")
        last = redis.add_event("analyzer", "completed", "1")
        frames = [await client.receive() for _ in range(2)]
        assert [(frame["id"], frame["data"]["queue"]) for frame in frames] == [(last, "analyzer")] * 2
        assert (await client.ask("subscribe-job", {"jobId": "1", "queue": "http"}))["data"]["code"] == "forbidden"


async def test_one_token_is_verified_at_a_time(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with keyed_bridge(redis.url) as live, raw_client(live.url) as client:
        identify, go_on = live.bridge.authentication.identify, anyio.Event()

        async def slowly(carried: Carried) -> Identity:
            await go_on.wait()
            return await identify(carried)

        monkeypatch.setattr(live.bridge.authentication, "identify", slowly)
        for ref in (1, 2):
            await client.send("authenticate", {"token": jwt("admin")}, ref=ref)
        sentence = "another `authenticate` of this connection is not answered yet"
        assert await client.receive() == {**error("too-many", sentence, "authenticate"), "ref": 2}
        go_on.set()
        assert (await client.receive())["ref"] == 1


async def test_a_hook_that_fails_lets_nobody_in(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async with keyed_bridge(redis.url) as live, raw_client(live.url) as client:

        async def fail(_carried: Carried) -> Identity:
            raise RuntimeError("a defect of a hook")

        monkeypatch.setattr(live.bridge.authentication, "identify", fail)
        assert await authenticate(client, jwt("admin")) == {"event": "error", "data": BAD}
        monkeypatch.undo()
        assert (await authenticate(client, jwt("admin")))["event"] == "ack"


async def test_a_token_that_is_taken_out_of_the_file_ends_its_connections(redis: Redis, tmp_path: Path) -> None:
    lines = [f"{hashlib.sha256(token.encode()).hexdigest()} ann never admin\n" for token in TOKENS]
    file = tmp_path / "tokens"
    file.write_text("".join(lines))
    intervals = USUAL_INTERVALS._replace(look_seconds=0.05)
    async with (
        keyed_bridge(redis.url, tokens_file=str(file), intervals=intervals) as live,
        raw_client(live.url, headers=(("Authorization", f"Bearer {TOKENS[0]}"),)) as client,
        raw_client(live.url, headers=(("Authorization", f"Bearer {TOKENS[1]}"),), path="/logs") as other,
    ):
        replace_file(file, lines[1])
        assert await client.closed() == (4501, "the token is no longer accepted")
        assert (await other.ask("ping"))["event"] == "pong"


async def test_few_connections_may_be_without_a_token(redis: Redis) -> None:
    async with keyed_bridge(redis.url, max_unauthenticated=2) as live:
        async with raw_client(live.url) as one, raw_client(live.url, path="/logs"):
            async with raw_client(live.url) as third:
                assert await third.closed() == (4003, "2 connections have not authenticated yet (max_unauthenticated)")
            await authenticate(one, jwt("admin"))
            async with raw_client(live.url) as fourth:
                assert (await fourth.ask("ping"))["event"] == "pong"
        async with raw_client(live.url) as fifth, raw_client(live.url) as sixth:
            assert (await fifth.ask("ping"))["event"] == (await sixth.ask("ping"))["event"] == "pong"


async def test_few_connections_of_an_address_may_be_without_a_token(redis: Redis) -> None:
    addresses = [[("X-Forwarded-For", address)] for address in ("192.0.2.7", "192.0.2.8")]
    async with keyed_bridge(redis.url, trusted_proxies=("127.0.0.0/8",)) as live, AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(raw_client(live.url, headers=addresses[0]))
        async with raw_client(live.url, headers=addresses[0]) as one_more:
            assert await one_more.closed() == (4003, "20 connections of this address have not authenticated yet")
        async with raw_client(live.url, headers=addresses[1]) as other:
            assert (await other.ask("ping"))["event"] == "pong"
        assert live.bridge.limited["max_unauthenticated"] == 1


async def test_a_client_that_guesses_tokens_is_sent_away(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    settings: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",), "failed_auths_per_minute": 2}
    headers = [("X-Forwarded-For", "192.0.2.7")]
    async with keyed_bridge(redis.url, **settings) as live, raw_client(live.url, headers=headers) as client:
        for _ in range(2):
            assert await authenticate(client, "bad") == {"event": "error", "data": BAD}
        await client.send("authenticate", {"token": "bad"})
        assert await client.closed() == (4003, "too many tokens of this address were refused (failed_auths_per_minute)")
        async with raw_client(live.url, headers=headers) as again:
            assert (await authenticate(again, jwt("admin")))["event"] == "ack", "a valid token is never slowed"
    # What comes after the limit is not in the log.
    assert sum(message.startswith("token refused") for message in caplog.messages) == 2


async def test_rights_hold_in_every_answer(redis: Redis) -> None:
    """What may not be read is answered alike, whether it exists or not, and no command of Redis names the job."""
    redis.add_job("http", "1")
    async with keyed_bridge(redis.url, queues=QUEUES) as live, raw_client(live.url) as client:
        await authenticate(client, jwt("read:jobs:analyzer/1"))
        answers = [
            await client.ask(*request)
            for job_id in ("1", "2")
            for request in (
                ("subscribe-job", {"jobId": job_id, "queue": "http"}),
                ("subscribe-job", {"jobId": job_id, "queue": "none"}),
                ("subscribe-queue", "http"),
            )
        ]
        assert all(each["data"] == {**FORBIDDEN, "request": each["data"]["request"]} for each in answers)


async def test_a_queue_that_is_found_later_is_judged_when_it_is_found(redis: Redis) -> None:
    async with (
        keyed_bridge(redis.url, queues=("*",), discover_seconds=0.05) as live,
        raw_client(live.url) as client,
        raw_client(live.url, headers=list(bearer("admin").items())) as admin,
    ):
        ack = await authenticate(client, jwt("read:jobs:later/1 read:jobs:now/1"))
        assert ack["data"]["queues"] == []
        for each in (client, admin):
            ack = await each.ask("subscribe-job", {"jobId": "1", "events": ["*"]})
            assert (ack["data"]["unknown"], ack["data"]["after"]) == (True, {})
        for queue in ("secret", "later"):
            redis.make_queue(queue)
            redis.add_event(queue, "active", "1")
            assert (await admin.receive())["data"]["queue"] == queue
        assert (await client.receive())["data"]["queue"] == "later"
        positions = (await client.ask("ping"))["data"]["after"]
        assert positions.keys() <= {"later"}
        ack = await authenticate(client, jwt("read:jobs:*/1"))
        assert sorted(ack["data"]["queues"]) == ["later", "secret"]
        redis.add_event("secret", "progress", "1", data="1")
        assert (await client.receive())["data"]["queue"] == "secret"
