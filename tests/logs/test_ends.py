"""Programs that log, as processes: they end soon whatever Redis does, and forks and signals lose no lines."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from jobws.logs.writer import EXIT_SECONDS

if TYPE_CHECKING:
    from tests.support.redis import Redis

# How long Python takes to end on a busy machine if it waits for nothing. This is less than EXIT_SECONDS.
END_SECONDS = 1.9


def run(name: str, url: str, *python: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(python or ("-m", "tests.logs.programs")), name, url]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def messages(redis: Redis) -> list[str]:
    found: Any = redis.client.xrange("jobws:logs")
    return [fields[b"message"].decode() for _, fields in found]


def test_the_end_of_a_program_writes_what_is_left(redis: Redis) -> None:
    done = run("lines", redis.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert messages(redis) == ["line 0", "line 1", "line 2"]


def test_so_does_an_end_by_an_exception(redis: Redis) -> None:
    assert run("raises", redis.url).returncode == 3
    assert messages(redis) == ["last words"]


def test_a_program_ends_promptly_when_nothing_listens() -> None:
    done = run("lines", "redis://127.0.0.1:1")
    assert time.monotonic() - float(done.stdout) < END_SECONDS
    assert done.returncode == 0
    assert done.stderr == (
        "Redis at redis://127.0.0.1:1 does not answer: Error 111 connecting to 127.0.0.1:1. Connection refused; "
        "log lines wait for it, the newest 10,000 at most\n"
    )


def test_a_program_ends_after_two_seconds_when_redis_is_silent() -> None:
    """The kernel accepts connections, and nothing answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        done = run("lines", f"redis://127.0.0.1:{silent.getsockname()[1]}")
        took = time.monotonic() - float(done.stdout)
    assert EXIT_SECONDS <= took < EXIT_SECONDS + 10
    assert (done.returncode, done.stderr) == (0, "")


def test_children_write_their_own_lines_and_no_others(redis: Redis) -> None:
    done = run("forks", redis.url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = messages(redis)
    # The parent's thread may still connect while the first child writes.
    lines.remove("parent before")
    assert lines == ["child of os", "child of multiprocessing", "parent after"]


def test_a_signal_handler_may_log_in_the_middle_of_logging(redis: Redis) -> None:
    done = run("interrupted", redis.url)
    assert (done.returncode, done.stderr) == (0, "")
    count, interrupts = map(int, done.stdout.split())
    assert interrupts > 100
    kept = messages(redis)
    if count + interrupts < 10_000:  # the stream keeps at least so many
        assert (kept.count("plain"), kept.count("signal")) == (count, interrupts)
    else:
        assert 10_000 <= len(kept) < 10_200
        assert "signal" in kept


def test_without_redis_py_one_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['redis'] = None; from jobws.logs import LogsHandler; LogsHandler()"
    done = run("", "", "-c", code)
    assert done.stderr.endswith("MissingExtraError: jobws.logs needs an extra: pip install 'jobws[logs]'\n")


def test_the_import_is_light() -> None:
    """The import brings a worker no server, no event loop, and no redis before a handler is made."""
    code = "import sys, jobws.logs; print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    heavy = ("redis", "hiredis", "anyio", "trio", "starlette", "hypercorn", "rich", "cyclopts", "multiprocessing")
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("argv", "source"),
    [("/srv/worker.py", "worker"), ("/srv/crawler/__main__.py", "crawler"), ("-c", "python"), ("", "python")],
)
def test_the_source_is_the_program_by_default(monkeypatch: pytest.MonkeyPatch, argv: str, source: str) -> None:
    from jobws.logs import LogsHandler

    monkeypatch.setattr(sys, "argv", [argv])
    assert LogsHandler("redis://127.0.0.1:1").source == source
