"""Bridges with an authorizer: how they start, and what keys are for beside it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from jobws.access.carrier import Carried, Carrier
from jobws.access.identity import Rights
from jobws.errors import ConfigurationError
from jobws.server import Bridge, Identity, Settings
from jobws.server.authorized import Authorized
from tests.support.authorizer import (
    Authorizer,
    asking_bridge,
    get,
)
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.documents import block
from tests.support.tokens import bearer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis


async def test_the_secret_is_read_for_each_question(redis: Redis, authorizer: Authorizer, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("first\n")
    async with asking_bridge(redis.url, authorizer, authorize_secret_file=str(file)) as live:
        for content in ("first\n", "second", "not one secret", ""):
            file.write_text(content)
            await get(live.url + "/jobs/http/1")
        file.unlink()
        await get(live.url + "/jobs/http/1")
    sent = [asked.headers["authorization"] for asked in authorizer.asked]
    assert sent == ["Bearer first", *["Bearer second"] * 4]


async def test_with_keys_the_token_must_verify_first(jobs: Redis, authorizer: Authorizer) -> None:
    """Its scope is not read."""
    authorizer.allowed = {"read:jobs http/1"}
    async with asking_bridge(jobs.url, authorizer, jwt_secret="x" * 32) as live:
        assert await get(live.url + "/jobs/http/1") == (401, "bad-token")
        assert not authorizer.asked
        token = bearer("write:jobs:none", key=b"x" * 32)
        assert (await get(live.url + "/jobs/http/1", **token))[0] == 200
        assert await get(live.url + "/jobs/http/2", **bearer("admin", key=b"x" * 32)) == (403, "forbidden")
        status, who = await get(live.url + "/whoami", **bearer("admin", key=b"x" * 32, sub="ann"))
    assert (status, who) == (403, "forbidden")


async def test_keys_still_say_which_tokens_are_revoked(tmp_path: Path) -> None:
    token, file = "jobws_" + "a" * 43, tmp_path / "tokens"
    file.write_text(f"{sha256(token.encode()).hexdigest()} ann never admin\n")
    keys = Bridge(Settings(authorize_url="https://authorizer.example", tokens_file=str(file))).authentication
    identity = await keys.identify(Carried(Carrier.HEADER, token))
    assert keys.is_current(identity)
    assert not keys.is_current(replace(identity, rights=Rights(), token_hash=b"another"))


async def test_the_authorizer_in_the_docs(jobs: Redis) -> None:
    names: dict[str, Any] = {"__name__": "authorizer"}
    exec(block("python", "class Authorizer(BaseHTTPRequestHandler)"), names)
    names["OWNERS"][("http", "1")] = "ann"
    server = ThreadingHTTPServer(("127.0.0.1", 0), names["Authorizer"])
    with ThreadPoolExecutor(1) as pool, server:
        pool.submit(server.serve_forever, 0.05)
        url = f"http://127.0.0.1:{server.server_port}/"
        async with live_bridge(jobs.url, queues=("http",), authorize_url=url, authorize_seconds=30) as live:
            assert (await get(live.url + "/jobs/http/1"))[0] == 200
            assert await get(live.url + "/jobs/http/2") == (403, "forbidden")
            assert await get(live.url + "/jobs/http/1", Authorization="Bearer bob") == (403, "forbidden")
        server.shutdown()


async def test_the_function_in_the_docs(jobs: Redis) -> None:
    async def owner_of(queue: str, job_id: str) -> str | None:
        return "ann" if (queue, job_id) == ("http", "1") else None

    names: dict[str, Any] = {"owner_of": owner_of}
    exec(block("python", "authenticate=authenticate)") + block("python", "authorize=authorize)"), names)
    ann = Identity.of("ann", "admin")
    assert await names["authorize"](ann, "read:jobs", "http", "1")
    assert not await names["authorize"](ann, "read:jobs", "http", "2")
    assert not await names["authorize"](ann, "write:jobs", "http", "1")
    assert isinstance(names["bridge"].authentication, Authorized)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"authorize_url": "https://a", "auth": False},
            "--no-auth serves everybody, and --authorize-url does not: leave out one of them",
        ),
        (
            {"authorize_secret_file": "secret"},
            "--authorize-secret-file is for the server of --authorize-url: name that, too",
        ),
        ({"authorize_url": "https://a", "authorize_seconds": 0.0}, "--authorize-timeout must be above 0"),
    ],
)
def test_settings_that_do_not_start(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings(**settings).check()
    assert str(refused.value) == sentence


def test_with_an_authorizer_other_addresses_are_served() -> None:
    Settings(authorize_url="https://a", host="0.0.0.0").check()


def test_a_url_or_secret_that_cannot_work_does_not_start(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("two words")
    url = "https://authorizer.example"
    sentences = {
        ("http://example.com", None): "--authorize-url takes an https URL, or an http URL of loopback, in ASCII and "
        "without a user, a password or a #",
        (url, "/none"): "cannot read /none: No such file or directory",
        (url, str(file)): f"{file} must have one line: a secret of printable ASCII without a space",
    }
    for (given, secret), sentence in sentences.items():
        with pytest.raises(ConfigurationError) as refused:
            Bridge(Settings(authorize_url=given, authorize_secret_file=secret))
        assert str(refused.value) == sentence


async def test_the_command_takes_the_url(jobs: Redis, authorizer: Authorizer, tmp_path: Path) -> None:
    authorizer.allowed = {"read:jobs http/1"}
    file = tmp_path / "secret"
    file.write_text("a-secret")
    flags = ("--authorize-url", authorizer.url, "--authorize-secret-file", str(file), "--authorize-timeout", "20")
    with BridgeProcess("--port", "0", "--redis", jobs.url, *flags) as bridge:
        url = bridge.started()
        assert (await get(url + "/jobs/http/1"))[0] == 200
        assert bridge.terminate() == 0
    assert [asked.headers["authorization"] for asked in authorizer.asked] == ["Bearer a-secret"]
    assert not [line for line in bridge.lines if "a-secret" in line or "ann" in line]
