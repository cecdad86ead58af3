"""No token, secret or password is in what the bridge prints, logs or answers, at the level DEBUG."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from jobws.access.identity import Rights
from jobws.access.scope import parse_scope
from jobws.access.static_tokens import line_of, new_token
from tests.support.http import HANDSHAKE, exchange
from tests.support.mounted import mounted_bridge
from tests.support.signing import SECRET
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.redis import Redis

STATIC = new_token(b"\7" * 32)
TOKENS = {
    "good": jwt("admin"),
    "wrong": jwt("admin", key=SECRET[::-1]),
    "expired": jwt("admin", seconds=-60),
    "malformed": "secret.token",
    "bad scope": jwt("read:jobs:secret-queue:x"),
    "static": STATIC,
    "unknown static": new_token(b"\6" * 32),
}
PATHS = ("/whoami", "/queues", "/metrics", "/readyz", "/jobs/http/1", "/nowhere")


def requests(url: str, token: str, *, subprotocol: bool = True) -> Iterator[bytes]:
    """Send the token with every carrier, or all but the subprotocol. Yield all that is answered."""
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"Authorization": f"Bearer {token}", "Cookie": f"__Host-jobws={token}", "Sec-Fetch-Site": "same-origin"},
        {"Cookie": f"__Host-jobws={token}", "Sec-Fetch-Site": "same-origin"},
    ):
        for path in PATHS:
            answer = exchange("GET", url + path, None, headers)
            yield answer.body + repr(answer.headers).encode()
        answer = exchange("POST", url + "/logs", {"message": "hello"}, headers)
        yield answer.body + repr(answer.headers).encode()
    for path in ("/ws", "/logs") if subprotocol else ():
        answer = exchange("GET", url + path, None, {**HANDSHAKE, "Sec-WebSocket-Protocol": f"jobws.v1, bearer.{token}"})
        yield answer.body + repr(answer.headers).encode()


def secrets() -> list[str]:
    # What is between the dots of a token may not be told either.
    parts = [part for token in TOKENS.values() for part in token.split(".") if len(part) > 40]
    return [*TOKENS.values(), *parts, SECRET.decode(), SECRET[::-1].decode()]


@pytest.fixture
def tokens_file(tmp_path: Path) -> str:
    file = tmp_path / "tokens"
    file.write_text(line_of(STATIC, sub="api", expiry="never", rights=Rights(parse_scope("admin"))) + "\n")
    return str(file)


async def test_a_bridge_tells_no_secret(redis: Redis, tokens_file: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with keyed_bridge(redis.url, tokens_file=tokens_file, queues=("http",)) as live:
        told = [repr(live.bridge.settings)]
        for token in TOKENS.values():
            answers = await anyio.to_thread.run_sync(list, requests(live.url, token))
            told += [answer.decode() for answer in answers]
    assert len([each for each in told if '"scope":"admin"' in each]) == 6
    lines = str(redis.client.xrange("jobws:logs"))
    assert "hello" in lines
    everything = "\n".join([*told, lines, caplog.text])
    assert not [secret for secret in (*secrets(), redis.url.split(":")[2].split("@")[0]) if secret in everything]


@pytest.mark.parametrize("level", ["info", "debug"])
def test_nor_does_a_mounted_one(
    redis: Redis,
    tokens_file: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    level: str,
) -> None:
    """At the level debug, uvicorn writes the subprotocols of each handshake, as docs/mounting.md says."""
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"tokens_file": tokens_file, "jwt_secret": SECRET.decode(), "queues": ("http",)}
    with mounted_bridge(redis.url, "starlette", log_level=level, **options) as url:
        for token in TOKENS.values():
            list(requests(url, token, subprotocol=level == "info"))
    written = caplog.text + "".join(capfd.readouterr())
    assert "token refused (bad-token)" in written
    assert '"GET /live/whoami HTTP/1.1" 200' in written
    assert not [secret for secret in secrets() if secret in written]
