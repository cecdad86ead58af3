"""An app that mounts the bridge says itself who a client is."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from starlette.datastructures import Headers

from jobws.access.carrier import Carried, Carrier
from jobws.errors import ConfigurationError, TokenRefusedError
from jobws.server import Bridge, Identity, Settings
from jobws.server.hook import Hook
from tests.support.documents import block
from tests.support.http import exchange
from tests.support.mounted import mounted_bridge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.redis import Redis

SCOPES = {"ann": "read:jobs:http/1", "bad": "read"}


async def by_session(headers: Mapping[str, str], token: str | None) -> Identity | None:
    user = token or headers.get("x-session")
    if user == "crash":
        raise RuntimeError
    return None if user not in SCOPES else Identity.of(user, SCOPES[user])


def test_a_mounted_bridge_asks_the_app(redis: Redis) -> None:
    redis.add_job("http", "1")
    redis.add_job("http", "2")
    with mounted_bridge(redis.url, "starlette", authenticate=by_session, queues=("http",)) as url:

        def ask(path: str, **headers: str) -> tuple[int, str | None]:
            answer = exchange("GET", url + path, None, {name.replace("_", "-"): each for name, each in headers.items()})
            return answer.status, answer.content().get("code")

        assert ask("/jobs/http/1", X_Session="ann") == (200, None)
        assert ask("/jobs/http/2", X_Session="ann") == (403, "forbidden")
        assert ask("/jobs/http/1", Authorization="Bearer ann") == (200, None)
        assert ask("/jobs/http/1") == (401, "unauthenticated")
        assert ask("/jobs/http/1", X_Session="bob") == (401, "unauthenticated")
        assert ask("/jobs/http/1", Authorization="Bearer bob") == (401, "bad-token")
        assert ask("/jobs/http/1", X_Session="crash") == (401, "unauthenticated")
        assert ask("/jobs/http/1", X_Session="bad") == (401, "bad-token")


async def test_a_token_without_a_request_is_asked_for_too() -> None:
    hook = Hook(by_session)
    identity = await hook.identify(Carried(Carrier.AUTHENTICATE, "ann"))
    assert (identity.sub, hook.is_current(identity)) == ("ann", True)
    for token in ("bob", "crash"):
        with pytest.raises(TokenRefusedError):
            await hook.identify(Carried(Carrier.AUTHENTICATE, token))


async def test_a_function_that_takes_too_long_lets_nobody_in() -> None:
    async def forever(_headers: Mapping[str, str], _token: str | None) -> Identity | None:
        await anyio.sleep_forever()
        raise AssertionError

    assert await Hook(forever, seconds=0.01).of_request(Headers({}), None) is None


async def test_anything_but_an_identity_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    async def truthy(_headers: Mapping[str, str], _token: str | None) -> Any:
        return {"sub": "ann", "scope": "admin"}

    with pytest.raises(TokenRefusedError):
        await Hook(truthy).identify(Carried(Carrier.HEADER, "ann"))
    assert await Hook(truthy).of_request(Headers({}), None) is None
    assert caplog.messages == ["authenticate returned dict, not an Identity, so the client is refused"] * 2


async def test_a_function_that_fails_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token, session = "secret-token.of.ann", "session-of-ann-0123456789"
    users: dict[str, Identity] = {}

    async def by_token(_headers: Mapping[str, str], token: str | None) -> Identity | None:
        return users[token or ""]

    async def by_cookie(headers: Mapping[str, str], _token: str | None) -> Identity | None:
        return users.get(headers["cookie"]) or users[headers["cookie"].partition("session=")[2]]

    headers = Headers({"cookie": f"theme=dark; session={session}", "authorization": f"Bearer {token}"})
    with pytest.raises(TokenRefusedError):
        await Hook(by_token).of_request(headers, Carried(Carrier.HEADER, token))
    with pytest.raises(TokenRefusedError):
        await Hook(by_token).identify(Carried(Carrier.AUTHENTICATE, token))
    assert await Hook(by_cookie).of_request(headers, None) is None
    assert caplog.text.count("KeyError: '…'") == 3
    assert "in by_cookie" in caplog.text
    assert token not in caplog.text
    assert session not in caplog.text


@pytest.mark.parametrize("settings", [{"jwt_secret": "x" * 32}, {"auth": False}])
def test_a_function_takes_the_place_of_keys(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Bridge(Settings(**settings), authenticate=by_session)
    assert str(raised.value) == "authenticate takes the place of keys and of --no-auth: leave them out"


async def test_the_function_in_the_docs() -> None:
    async def user_of_session(cookie: str) -> SimpleNamespace | None:
        return SimpleNamespace(name="ann", job="1") if cookie == "session=1" else None

    names: dict[str, Any] = {"user_of_session": user_of_session}
    exec(block("python", "authenticate=authenticate)"), names)
    identity = await names["bridge"].authentication.of_request(Headers({"cookie": "session=1"}), None)
    assert identity == Identity.of("ann", "read:jobs:*/1")
    assert await names["bridge"].authentication.of_request(Headers({}), None) is None
