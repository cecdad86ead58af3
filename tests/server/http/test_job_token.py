"""Tokens that come with submitted jobs, and what /whoami returns."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from jobws.access.identity import Rights
from jobws.access.scope import parse_scope
from jobws.access.static_tokens import line_of, new_token
from jobws.errors import ConfigurationError
from jobws.server.bridge import Bridge
from jobws.server.intervals import Intervals
from jobws.server.settings import Settings
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.http import call
from tests.support.signing import SECRET, ec_key, jwk, jwks, number
from tests.support.tokens import bearer, jwt, keyed_bridge

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis

WRITE = "write:jobs:http"


async def submit(url: str, *, job: object = None, key: str | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    more = {} if key is None else {"Idempotency_Key": key}
    body = {"data": 1, **({"jobId": job} if job else {})}
    return await call("POST", url + "/jobs/http?withToken=1", body, **headers, **more)


async def whoami(url: str, token: str) -> dict[str, Any]:
    return (await call("GET", url + "/whoami", Authorization=f"Bearer {token}"))[1]


async def test_whoami_tells_what_the_token_allows(redis: Redis) -> None:
    async with keyed_bridge(redis.url) as live:
        assert (await call("GET", live.url + "/whoami"))[0] == 401
        expires = int(time.time()) + 300
        token = jwt("read:jobs:a%20b/* write:logs", sub="ann", exp=expires)
        assert await whoami(live.url, token) == {
            **{"sub": "ann", "scope": "read:jobs:a%20b/* write:logs", "expires": expires * 1000, "actions": True},
        }
    async with live_bridge(redis.url) as live:
        assert (await call("GET", live.url + "/whoami"))[1] == {
            **{"sub": None, "scope": "admin", "expires": None, "actions": False},
        }


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_page_gets_exactly_the_job_that_it_started(redis: Redis, key: str | None) -> None:
    async with keyed_bridge(redis.url, queues=("http",)) as live:
        status, body = await submit(live.url, key=key, **bearer(WRITE, sub="ann"))
        assert status == 202
        told = await whoami(live.url, body["token"])
        job = f"http/{body['jobId']}"
        assert (told["sub"], told["scope"]) == (f"ann#{job}", f"read:jobs:{job}")
        headers = {"Authorization": f"Bearer {body['token']}"}
        assert (await call("GET", f"{live.url}/jobs/{job}", **headers))[1]["jobId"] == body["jobId"]
        assert (await call("GET", f"{live.url}/jobs/http/1", **headers))[0] == 403


async def test_a_token_ends_with_the_one_that_asked_for_it(redis: Redis) -> None:
    async with keyed_bridge(redis.url) as live:
        for seconds, expected in ((60, 60), (10_000, 900)):
            body = (await submit(live.url, **bearer(WRITE, seconds=seconds)))[1]
            left = (await whoami(live.url, body["token"]))["expires"] / 1000 - time.time()
            assert expected - 5 < left <= expected


async def test_a_job_of_somebody_else_is_not_opened_by_adding_it_again(redis: Redis) -> None:
    redis.add_job("http", "taken", state="completed", returnvalue="1", finishedOn=1)
    async with keyed_bridge(redis.url) as live:
        refused = await submit(live.url, job="taken", **bearer(WRITE))
        assert refused == await submit(live.url, job="free", **bearer(WRITE))
        assert (refused[0], refused[1]["code"]) == (403, "forbidden")
        assert not redis.client.exists("bull:http:free")
        both = bearer(f"{WRITE} read:jobs:http/taken")
        assert "token" in (await submit(live.url, job="taken", **both))[1]


@pytest.mark.parametrize(
    "settings", [{}, {"jwt_secret": SECRET.decode(), "jwt_secret_files": ["other"]}], ids=["no key", "two secrets"]
)
async def test_without_a_key_to_sign_with_nothing_is_added(
    redis: Redis, tmp_path: Path, settings: dict[str, Any]
) -> None:
    files = tuple(str(tmp_path / name) for name in settings.pop("jwt_secret_files", ()))
    for name in files:
        (tmp_path / name).write_bytes(SECRET[::-1])
    async with live_bridge(redis.url, **settings, jwt_secret_files=files) as live:
        status, body = await submit(live.url, job="new", **bearer(f"{WRITE} read:jobs:http"))
        assert (status, body["code"]) == (501, "cannot-mint")
        assert body["detail"] == "this bridge has no key to sign with; --mint-secret-file names one"
        assert not redis.client.exists("bull:http:new")
        status, body = await call("POST", live.url + "/jobs/http?withToken=2", {"data": 1}, **bearer(WRITE))
        assert (status, body["detail"]) == (400, "`withToken` can only be 1 or true")


async def test_a_private_key_signs_what_the_bridge_expects(redis: Redis, tmp_path: Path) -> None:
    private, public = tmp_path / "private", tmp_path / "public"
    scalar = number(ec_key().private_numbers().private_value, 32)
    private.write_text(json.dumps({**jwk(ec_key(), kid="a"), "d": scalar}))
    public.write_bytes(jwks(jwk(ec_key(), kid="a")))
    token = new_token(b"\1" * 32)
    tokens = tmp_path / "tokens"
    tokens.write_text(line_of(token, sub="api", expiry="never", rights=Rights(parse_scope(WRITE))) + "\n")
    settings: dict[str, Any] = {
        **{"mint_key_file": str(private), "jwks_file": str(public), "tokens_file": str(tokens)},
        **{"jwt_audience": "jobws", "jwt_issuer": "us", "jwt_scope_claim": "rights", "mint_seconds": 60},
    }
    async with live_bridge(redis.url, **settings) as live:
        body = (await submit(live.url, Authorization=f"Bearer {token}"))[1]
        told = await whoami(live.url, body["token"])
        assert told["scope"] == f"read:jobs:http/{body['jobId']}"
        assert 50 < told["expires"] / 1000 - time.time() <= 60


def test_a_key_whose_tokens_would_be_refused_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET[::-1])
    with pytest.raises(ConfigurationError) as raised:
        Bridge(Settings(jwt_secret=SECRET.decode(), mint_secret_file=str(file)))
    assert str(raised.value) == (
        f"{file}: the bridge would not accept what this key signs; name a secret as --jwt-secret-file, too, "
        "or put the public key into --jwks-file"
    )


async def test_a_new_secret_signs_from_the_next_look_on(redis: Redis, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    quick = Intervals(look_seconds=0.02)
    async with live_bridge(redis.url, intervals=quick, jwt_secret_files=(str(file),)) as live:
        file.write_bytes(SECRET[::-1])
        new = {"Authorization": f"Bearer {jwt(WRITE, key=SECRET[::-1])}"}
        with anyio.fail_after(30):
            while (await submit(live.url, **new))[0] != 202:
                await anyio.sleep(0.02)
        token = (await submit(live.url, **new))[1]["token"]
        assert (await whoami(live.url, token))["scope"].startswith("read:jobs:http/")
        file.write_bytes(b"short")
        await eventually(lambda: bool(live.bridge.authentication.problems))
        assert len(live.bridge.authentication.problems) == 1
        assert (await submit(live.url, **new))[0] == 202
