"""A bridge with keys or an authorizer, over sockets: whatever comes, it answers, logs no error, and keeps nothing."""

from __future__ import annotations

import http.client
import json
import logging
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobws.access.scope import parse_scope
from tests.fuzz.deciders import DECIDERS, Decider, decided
from tests.fuzz.frames import CLOSE_CODES, SCOPES, Message, check_frame, data_of_jobs, data_of_logs, messages
from tests.fuzz.mutations import changed_text
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.left import nothing_left
from tests.support.peer import Peer
from tests.support.sight import sight
from tests.support.signing import SECRET
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.support.bridge import Live
    from tests.support.redis import Redis

# Hypothesis warns that its inputs depend on `random` if other threads use it meanwhile, as those of the bridge do.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

# An input takes much longer here than in the other tests.
FEW: Final = settings(max_examples=max(30, settings.default.max_examples // 10))  # type: ignore[union-attr]
TOKENS: Final = {jwt(scope, seconds=100_000): scope for scope in SCOPES.values()}
REFUSED: Final = (jwt("admin", seconds=-60), jwt("admin", key=SECRET[::-1]), jwt("admin", nbf=2**33), "guess", "")
TOLD_OF_THE_JOB: Final = b"only for those with the right"
tokens = st.sampled_from((*TOKENS, *REFUSED))


def may_read(scope: str | None) -> bool:
    """Whether a scope allows to read what only the job, or its line of the log, tells."""
    seen = sight(*([] if scope is None else scope.split(" ")))
    return seen.may_read("http", "1") or seen.may_read_lines("http")


@pytest.fixture(params=DECIDERS)
def decider(request: pytest.FixtureRequest) -> Iterator[Decider]:
    with decided(request.param, TOKENS) as found:
        yield found


@asynccontextmanager
async def watched_bridge(redis: Redis, caplog: pytest.LogCaptureFixture, decider: Decider) -> AsyncIterator[Live]:
    """A bridge with one job. At the end it must have logged no error, and have nothing left of its clients."""
    secret = TOLD_OF_THE_JOB.decode()
    redis.add_job("http", "1", state="completed", returnvalue=json.dumps(secret), finishedOn=1795435730000)
    redis.client.rpush("bull:http:1:logs", secret)
    redis.add_event("http", "completed", "1", returnvalue=json.dumps(secret), prev="active")
    redis.make_queue("sparql")
    redis.add_log(secret, queue="http", jobId="1", source="worker")
    caplog.set_level(logging.ERROR)
    many: dict[str, Any] = {"requests_per_second": 10**6, "requests_per_minute": 10**9, "log_lines_per_minute": 10**9}
    async with live_bridge(redis.url, authorize=decider.authorize, **decider.settings, **many) as live:
        yield live
        await eventually(lambda: nothing_left(live))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# ---- headers ----

authorizations = st.none() | st.builds("{} {}".format, st.sampled_from(("Bearer", "bearer", "Basic")), tokens)
cookies = st.none() | st.builds("{}={}".format, st.sampled_from(("a=b; __Host-jobws", "__Host-jobws", "x")), tokens)
pieces = ("Bearer ", " ", ";", "=", ",", ".", "__Host-jobws=", "é")


def printable(texts: st.SearchStrategy[str | None]) -> st.SearchStrategy[str | None]:
    """Return the texts, some of them changed, without what no header may hold."""
    changed = changed_text(texts.map(lambda text: text or ""), pieces)
    return texts | changed.map(lambda text: "".join(char for char in text if char.isprintable() and ord(char) < 256))


def holder(authorization: str | None, cookie: str | None, site: str) -> str | None:
    """Return the scope that the headers prove, or None."""
    scheme, _, token = (authorization or "").strip(" ").partition(" ")
    if scheme.lower() == "bearer":
        return TOKENS.get(token.strip(" "))
    named = [pair.strip(" ").partition("=") for pair in (cookie or "").split(";")]
    held = [value for name, _, value in named if name == "__Host-jobws"] if site == "same-origin" else []
    return TOKENS.get(held[0]) if len(held) == 1 else None


async def test_headers_prove_what_the_token_in_them_says(
    redis: Redis, caplog: pytest.LogCaptureFixture, decider: Decider
) -> None:
    async with watched_bridge(redis, caplog, decider) as live:
        await anyio.to_thread.run_sync(check_headers, urlsplit(live.url).netloc, decider)


def ask(netloc: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(netloc, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()


def check_headers(netloc: str, decider: Decider) -> None:

    @FEW
    @given(printable(authorizations), printable(cookies), st.sampled_from(("same-origin", "same-site", "none")))
    def check(authorization: str | None, cookie: str | None, site: str) -> None:
        sent = {"Authorization": authorization, "Cookie": cookie, "Sec-Fetch-Site": site}
        headers = {name: value for name, value in sent.items() if value is not None}
        scope = holder(authorization, cookie, site)
        for path in ("/whoami", "/jobs/http/1"):
            status, body = ask(netloc, path, headers)
            if scope is None:
                assert status == 401 or (status == 403 and not decider.verifies), body
                assert json.loads(body)["code"] in ("unauthenticated", "bad-token", "expired", "forbidden")
            elif path == "/whoami" and not decider.asks:
                assert parse_scope(json.loads(body)["scope"]) == parse_scope(scope)
            elif path == "/jobs/http/1":
                assert (TOLD_OF_THE_JOB in body) == sight(*scope.split(" ")).may_read("http", "1")
            assert TOLD_OF_THE_JOB not in body or may_read(scope)

    check()


# ---- messages ----


def as_bytes(payload: str | bytes) -> bytes:
    return payload if isinstance(payload, bytes) else payload.encode(errors="replace")


def converse(url: str, path: str, headers: dict[str, str], sent: list[Message]) -> tuple[list[bytes], int | None]:
    """Send the messages, and a ping. Return the frames up to the answer to the ping, or up to the close code."""
    frames: list[bytes] = []
    with Peer(url, path, headers=headers) as peer:
        for each in (*sent, Message('{"event":"ping","ref":"last"}', None)):
            peer.send(as_bytes(each.payload), 0x82 if isinstance(each.payload, bytes) else 0x81)
        while True:
            opcode, payload = peer.frame()
            if opcode == 8:
                return frames, int.from_bytes(payload[:2])
            if opcode == 1:
                frames.append(payload)
                if json.loads(payload).get("ref") == "last":
                    return frames, None


def carried(carrier: str, token: str) -> dict[str, str]:
    if carrier == "protocol":
        return {"Sec-WebSocket-Protocol": f"jobws.v1, bearer.{token}"}
    return {"Authorization": f"Bearer {token}"} if carrier == "header" else {}


async def check_messages(
    redis: Redis, caplog: pytest.LogCaptureFixture, decider: Decider, path: str, data: dict[str, Any]
) -> None:
    async with watched_bridge(redis, caplog, decider) as live:

        @FEW
        @given(st.sampled_from(("header", "protocol", "none")), tokens, st.lists(messages(data, tokens), max_size=10))
        def check(carrier: str, token: str, sent: list[Message]) -> None:
            texts = [as_bytes(each.payload) for each in sent]
            frames, code = converse(live.url, path, carried(carrier, token), sent)
            assert json.loads(frames[0])["event"] == "hello"
            for frame in frames[1:]:
                check_frame(json.loads(frame))
            assert code is None or code in CLOSE_CODES
            if carrier != "none" and token in REFUSED and (decider.verifies or not token):
                assert code == (4001 if token == REFUSED[0] else 4500)
            used = {TOKENS.get(token)} if carrier != "none" else set()
            used |= {scope for each, scope in TOKENS.items() if any(each.encode() in text for text in texts)}
            assert any(map(may_read, used)) or not any(TOLD_OF_THE_JOB in frame for frame in frames)

        await anyio.to_thread.run_sync(check)


async def test_any_messages_about_jobs(redis: Redis, caplog: pytest.LogCaptureFixture, decider: Decider) -> None:
    await check_messages(redis, caplog, decider, "/ws", data_of_jobs)


async def test_any_messages_about_the_log(redis: Redis, caplog: pytest.LogCaptureFixture, decider: Decider) -> None:
    await check_messages(redis, caplog, decider, "/logs", data_of_logs)
