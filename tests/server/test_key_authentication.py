"""The keys of a bridge: which settings start, which files are refused, and how a change of a file arrives."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest

from jobws.access.carrier import Carried, Carrier
from jobws.errors import ConfigurationError, TokenRefusedError
from jobws.server.bridge import Bridge
from jobws.server.intervals import Intervals
from jobws.server.settings import Settings
from tests.support import eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.http import ask, get
from tests.support.signing import SECRET
from tests.support.tokens import jwt, keyed_bridge, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis

QUICK = Intervals(look_seconds=0.02)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tokens_file": "x", "auth": False}, "--no-auth serves everybody, and a key does not: leave out one of them"),
        ({"jwt_secret": "", "auth": False}, "--no-auth serves everybody, and a key does not: leave out one of them"),
        (
            {"revoked_file": "x"},
            "revoked_file without a key: name --tokens-file, --jwt-secret-file, --jwks-file or --jwks-url, or set "
            "JOBWS_JWT_SECRET",
        ),
        (
            {"jwt_issuer": "x"},
            "jwt_issuer without a key: name --tokens-file, --jwt-secret-file, --jwks-file or --jwks-url, or set "
            "JOBWS_JWT_SECRET",
        ),
        (
            {"jwks_file": "x", "mint_secret_file": "x", "mint_key_file": "x"},
            "--mint-secret-file and --mint-key-file exclude each other",
        ),
        (
            {"metrics_listen": "0.0.0.0:9187"},
            "--metrics-listen takes an address of loopback and a port, as 127.0.0.1:9187, not 0.0.0.0:9187",
        ),
        (
            {"metrics_listen": "127.0.0.1"},
            "--metrics-listen takes an address of loopback and a port, as 127.0.0.1:9187, not 127.0.0.1",
        ),
        ({"jwks_file": "x", "mint_seconds": 0}, "times about tokens must not be below 0, nor mint_seconds below 1"),
    ],
)
def test_settings_that_cannot_work_say_so(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings(**settings).check()
    assert str(raised.value) == sentence


def test_with_keys_another_address_may_be_served() -> None:
    Settings(host="0.0.0.0", jwks_file="x").check()


def test_settings_show_no_secret() -> None:
    shown = repr(Settings(redis="redis://:hidden@127.0.0.1", jwt_secret="hidden"))
    assert "hidden" not in shown


def test_a_file_that_is_bad_at_the_start_refuses_to_start(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    with pytest.raises(ConfigurationError) as missing:
        Bridge(Settings(tokens_file=str(file)))
    assert str(missing.value) == f"cannot read {file}: No such file or directory"
    file.write_text("x\n")
    with pytest.raises(ConfigurationError) as malformed:
        Bridge(Settings(tokens_file=str(file)))
    assert str(malformed.value) == f"{file}, line 1: expected: sha256-hex sub expiry|never scope…"


def test_a_secret_comes_from_the_environment(redis: Redis) -> None:
    secret = {"JOBWS_JWT_SECRET": SECRET.decode()}
    with BridgeProcess("--port", "0", "--redis", redis.url, environment=secret) as bridge:
        url = bridge.started()
        assert get(url + "/queues")[0] == 401
        assert bridge.terminate() == 0


def test_tokens_over_plain_http_are_warned_of(redis: Redis) -> None:
    secret = {"JOBWS_JWT_SECRET": SECRET.decode()}
    with BridgeProcess("--port", "0", "--host", "0.0.0.0", "--redis", redis.url, environment=secret) as bridge:
        line = bridge.read_until(" over plain HTTP")
        assert bridge.terminate() == 0
    sentence = f"tokens come to {bridge.url} over plain HTTP, where others can read them; a proxy in front adds TLS"
    assert line.rstrip().endswith(sentence)


def test_metrics_have_a_port_of_their_own(redis: Redis) -> None:
    secret = {"JOBWS_JWT_SECRET": SECRET.decode()}
    there = ("--metrics-listen", "127.0.0.1:0")
    with BridgeProcess("--port", "0", "--redis", redis.url, *there, environment=secret) as bridge:
        line = bridge.read_until("metrics are at ")
        url = line.partition("metrics are at ")[2].partition("/metrics,")[0]
        status, text = get(url + "/metrics")
        assert (status, "jobws_queues " in text) == (200, True)
        assert get(url + "/queues")[0] == 404
        assert get(url + "/metrics", Host="rebound.example")[0] == 403
        assert get(url + "/metrics", X_Forwarded_For="192.0.2.1")[0] == 403
        assert get(bridge.url + "/metrics")[0] == 401
        assert bridge.terminate() == 0


def test_a_port_for_metrics_that_is_taken_names_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with BridgeProcess("--port", "0", "--metrics-listen", f"127.0.0.1:{port}") as bridge:
            assert bridge.wait() == 2
    assert bridge.lines == [
        f"jobws: cannot listen on 127.0.0.1:{port}: the port is in use; choose another with --metrics-listen"
    ]


async def test_a_file_that_becomes_bad_keeps_what_it_said(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    carried = Carried(Carrier.HEADER, jwt("admin"))
    async with live_bridge(redis.url, intervals=QUICK, jwt_secret_files=(str(file),)) as live:
        keys = live.bridge.authentication
        with caplog.at_level(logging.ERROR, "jobws.server.key_authentication"):
            replace_file(file, b"short")
            await eventually(lambda: bool(keys.problems))
        short = f"{file}: the secret has 5 bytes; it needs at least 32: openssl rand -base64 48 makes one"
        assert caplog.messages[-1:] == [f"{short}; what it held before still counts"]
        identity = await keys.identify(carried)
        assert keys.is_current(identity)
        replace_file(file, SECRET[::-1])
        await eventually(lambda: not keys.problems)
        assert not keys.is_current(identity)
        with pytest.raises(TokenRefusedError):
            await keys.identify(carried)


async def test_a_file_that_stays_bad_is_reported_once(
    redis: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "secret", tmp_path / "revoked"
    first.write_bytes(SECRET)
    second.write_bytes(b"")
    files: dict[str, Any] = {"jwt_secret_files": (str(first),), "revoked_file": str(second)}
    async with live_bridge(redis.url, intervals=QUICK, **files) as live:
        keys = live.bridge.authentication
        replace_file(first, b"\xff")
        await eventually(lambda: len(keys.problems) == 1)
        replace_file(second, b"\xff")
        await eventually(lambda: len(keys.problems) == 2)
    (problem,) = [each for each in caplog.messages if str(first) in each]
    assert problem.endswith("what it held before still counts")


async def test_a_bridge_with_keys_may_stand_where_others_may_not(redis: Redis) -> None:
    async with keyed_bridge(redis.url) as live:
        answer = await ask(live.url + "/healthz", Host="a.example", X_Forwarded_For="192.0.2.1")
    assert answer == (200, "ok\n")
    async with keyed_bridge(redis.url, allowed_hosts=("b.example",)) as live:
        assert (await ask(live.url + "/healthz", Host="b.example"))[0] == 200
        assert (await ask(live.url + "/healthz", Host="a.example"))[0] == 403
