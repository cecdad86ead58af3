"""Who sent a request: where its token is, the rules for cookies, and what is served without a token."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobws.access.caller import ADDRESS, ANYONE, Caller, Refused, Unauthenticated
from jobws.access.identity import Identity
from jobws.server.callers import caller_of, without_token
from jobws.server.intervals import USUAL_INTERVALS
from jobws.server.key_authentication import KeyAuthentication, NoKeys
from jobws.server.proxies import Proxied
from jobws.server.settings import Settings
from tests.support.http import ask, exchange, problem
from tests.support.signing import SECRET
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from tests.support.redis import Redis

GOOD, OTHER = jwt("read:logs", sub="ann"), jwt("read:logs", sub="bob")
BAD = jwt("read:logs", key=SECRET[::-1])
KEYS = KeyAuthentication(Settings(jwt_secret=SECRET.decode()), USUAL_INTERVALS)
UNAUTHENTICATED = problem(401, "unauthenticated", "this needs a token, in the header Authorization: Bearer TOKEN")
BAD_TOKEN = problem(401, "bad-token", "the token is not accepted; the bridge's log says why")


async def caller(headers: dict[str, str], *, keyed: bool = True, **scope: Any) -> Caller:
    keys = KeyAuthentication(Settings(jwt_secret=SECRET.decode()), USUAL_INTERVALS) if keyed else NoKeys()
    return await caller_of(request(headers, **scope), keys)


def request(headers: dict[str, str], **scope: Any) -> Scope:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "GET", "path": "/", "headers": raw, ADDRESS: None, **scope}


def name(caller: Caller) -> str | None:
    """Return the caller's `sub`, or the code of the refusal, or None without a token."""
    match caller:
        case Identity(sub=sub):
            return sub
        case Refused(error):
            return error.code
        case Unauthenticated():
            return None


async def test_without_keys_everybody_is_anyone() -> None:
    assert await caller({"Authorization": f"Bearer {BAD}"}, keyed=False) is ANYONE


@pytest.mark.parametrize(
    ("headers", "subprotocols", "expected"),
    [
        ({}, [], None),
        ({"Authorization": f"Bearer {GOOD}"}, [], "ann"),
        ({"Authorization": f"Bearer {OTHER}"}, [f"bearer.{GOOD}"], "bob"),
        ({"Authorization": f"Bearer {BAD}"}, [f"bearer.{GOOD}"], "bad-token"),
        ({"Authorization": "Basic YTpi"}, [f"bearer.{GOOD}"], "ann"),
        ({}, ["jobws.v1", f"bearer.{OTHER}"], "bob"),
        ({}, [f"bearer.{GOOD}", f"bearer.{GOOD}"], "bad-token"),
        ({"Authorization": f"Bearer {jwt('read:logs', seconds=-60)}"}, [], "expired"),
        ({"Authorization": f"Bearer {jwt('read:logs', nbf=2**40)}"}, [], "bad-token"),
    ],
)
async def test_the_first_carrier_decides(
    headers: dict[str, str], subprotocols: list[str], expected: str | None
) -> None:
    assert name(await caller(headers, type="websocket", subprotocols=subprotocols)) == expected


@pytest.mark.parametrize(
    ("kind", "headers", "counts"),
    [
        ("GET", {"Host": "a.example", "Sec-Fetch-Site": "same-origin"}, True),
        ("GET", {"Host": "a.example", "Sec-Fetch-Site": "same-site"}, False),
        ("GET", {"Host": "a.example", "Sec-Fetch-Site": "none"}, False),
        ("GET", {"Host": "a.example", "Origin": "https://a.example"}, False),
        ("GET", {"Host": "a.example"}, False),
        ("POST", {"Host": "a.example", "Origin": "https://a.example"}, True),
        ("POST", {"Host": "a.example", "Sec-Fetch-Site": "same-origin"}, False),
        ("DELETE", {"Host": "a.example:8443", "Origin": "https://a.example"}, False),
        ("websocket", {"Host": "a.example:8443", "Origin": "https://a.example:8443"}, True),
        ("websocket", {"Host": "a.example", "Origin": "http://a.example"}, False),
        ("websocket", {"Host": "a.example", "Origin": "https://b.example"}, False),
        ("websocket", {"Host": "a.example", "Origin": "null"}, False),
        ("websocket", {"Host": "a.example", "Origin": "https://[", "Sec-Fetch-Site": "same-origin"}, False),
        ("websocket", {"Host": "a.example", "Sec-Fetch-Site": "same-origin"}, False),
        ("websocket", {"Host": "127.0.0.1:8787", "Origin": "http://127.0.0.1:8787"}, True),
    ],
)
async def test_a_cookie_counts_for_the_bridges_own_pages_only(kind: str, headers: dict[str, str], counts: bool) -> None:
    scope = {"type": "websocket", "subprotocols": []} if kind == "websocket" else {"type": "http", "method": kind}
    found = await caller({**headers, "Cookie": f"a=b; __Host-jobws={GOOD}"}, **scope)
    assert name(found) == ("ann" if counts else None)


def test_no_endpoint_sees_the_subprotocol_that_holds_the_token() -> None:
    headers = {"Sec-WebSocket-Protocol": f"jobws.v1, bearer.{GOOD}", "Host": "a.example"}
    scope = without_token(request(headers, type="websocket", subprotocols=["jobws.v1", f"bearer.{GOOD}"]))
    assert scope["subprotocols"] == ["jobws.v1"]
    assert scope["headers"] == [(b"host", b"a.example"), (b"sec-websocket-protocol", b"jobws.v1")]
    only = without_token(request({"Sec-WebSocket-Protocol": f"bearer.{GOOD}"}, subprotocols=[f"bearer.{GOOD}"]))
    assert (only["subprotocols"], only["headers"]) == ([], [])


async def test_without_a_token_only_the_public_list_is_served(redis: Redis) -> None:
    async with keyed_bridge(redis.url) as live:
        for path in ("/healthz", "/openapi.json", "/", "/page.js", "/jobws.js", "/src/connection.js", "/readyz"):
            assert (await ask(live.url + path))[0] == 200
            assert (await ask(live.url + path, Authorization=f"Bearer {BAD}"))[0] == 200
        for path in ("/queues", "/metrics", "/jobs/http/1", "/jobs/http/2", "/events?job=1", "/nowhere", "/jobs/%2F"):
            assert await ask(live.url + path) == (401, UNAUTHENTICATED)
        assert await ask(live.url + "/queues", Authorization=f"Bearer {BAD}") == (401, BAD_TOKEN)


async def test_a_refusal_names_the_scheme_and_its_reason_only_in_the_log(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    async with keyed_bridge(redis.url) as live:
        with caplog.at_level(logging.WARNING):
            headers = {"Authorization": f"Bearer {BAD}"}
            answer = await anyio.to_thread.run_sync(exchange, "GET", live.url + "/queues", None, headers)
        assert ("www-authenticate", "Bearer") in answer.headers
        assert b"signature" not in answer.body
        reason = "its HS256 signature is wrong: another key signed it, or it was changed"
        assert caplog.messages[-1:] == [f"token refused (bad-token): {reason}"]


BYTES = st.text(st.characters(max_codepoint=255), max_size=80).map(lambda text: text.encode("latin-1"))
VALUES = BYTES | st.sampled_from(
    [f"Bearer {GOOD}", f"Bearer {BAD}", "Bearer", f"__Host-jobws={GOOD}", "https://[", "https://a.example", "null"]
).map(str.encode)
NAMES = st.sampled_from([b"authorization", b"cookie", b"origin", b"host", b"sec-fetch-site", b"x-forwarded-for"])


@given(headers=st.lists(st.tuples(NAMES, VALUES), max_size=8), offered=st.lists(st.text(max_size=40), max_size=3))
@settings(max_examples=300)
def test_no_headers_raise_an_error(headers: list[tuple[bytes, bytes]], offered: list[str]) -> None:
    """Only a token that stands there whole lets anyone in."""
    scope: dict[str, Any] = {
        "type": "websocket",
        "headers": headers,
        "subprotocols": offered,
        "client": ("10.0.0.1", 1),
        ADDRESS: None,
    }
    found = asyncio.run(caller_of(scope, KEYS))
    values = b" ".join(value for _, value in headers).decode("latin-1")
    assert not isinstance(found, Identity) or GOOD in values
    without_token(scope)
    Proxied(app_of_nothing, Settings(trusted_proxies=("10.0.0.0/8",))).address(scope)


async def app_of_nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise AssertionError
