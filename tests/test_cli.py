"""The command line as its users meet it: lines, and exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis


class Watch:
    """`jobws watch` as a process; its output is no terminal."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobws", "watch", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("JOBWS_")},
        )

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await anyio.to_thread.run_sync(self.process.stdout.readline)).rstrip("\n")

    async def end(self) -> tuple[int, str, str]:
        """Exit code, and the rest of both outputs."""
        out, err = await anyio.to_thread.run_sync(self.process.communicate)
        return self.process.returncode, out, err


async def test_watch_follows_a_job_to_its_result(redis: Redis) -> None:
    redis.add_job("http", "7")
    async with live_bridge(redis.url) as live:
        watch = Watch("7", "--url", live.url)
        assert [await watch.line(), await watch.line()] == ["7 subscribed", "http/7 waiting"]
        redis.add_event("http", "active", "7", prev="waiting")
        redis.add_event("http", "progress", "7", data="50")
        redis.add_event("http", "completed", "7", returnvalue='{"answer":42}')
        code, out, err = await watch.end()
        assert (code, err) == (0, "")
        assert out.splitlines() == ["http/7 active", "http/7 active 50", 'http/7 completed {"answer": 42}']


async def test_watch_tells_ends_by_its_exit_code(redis: Redis) -> None:
    redis.add_job("http", "done", state="completed", finishedOn="1", returnvalue="1")
    async with live_bridge(redis.url) as live:
        assert (await Watch("done", "--url", live.url).end())[0] == 0
        assert await Watch("nobody", "--url", live.url).end() == (4, "nobody subscribed\nnobody unknown\n", "")
        failing = Watch("later", "--expect", "--queue", "http", "--url", live.url)
        assert await failing.line() == "later subscribed"
        redis.add_event("http", "failed", "later", failedReason="no such page")
        assert await failing.end() == (1, "http/later failed no such page\n", "")
        waiting = Watch("later", "--expect", "--timeout-seconds", "0.2", "--url", live.url)
        assert (await waiting.end())[0] == 5
        assert await Watch("x", "--queue", "nope", "--url", live.url).end() == (
            *(2, "", "jobws: x: this bridge has no queue of that label; see `hello`\n"),
        )


async def test_watch_says_when_there_is_no_bridge() -> None:
    code, _, err = await Watch("1", "--url", "http://127.0.0.1:1").end()
    assert code == 3
    assert err.startswith("jobws: no bridge at ws://127.0.0.1:1/ws: ")
    assert len(err.splitlines()) == 1
    code, _, err = await Watch("1", "--url", "localhost").end()
    assert (code, err) == (3, "jobws: localhost is no URL of a bridge; expected http://host:port\n")


def run(*arguments: str, hide: str = "") -> tuple[int, str]:
    """Exit code and standard error of `jobws`, with the modules in `hide` as if they were not installed."""
    code = (
        "import sys\n"
        f"for name in {hide.split()!r}: sys.modules[name] = None\n"
        f"sys.argv = ['jobws', *{list(arguments)!r}]\n"
        "from jobws.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "hide", "sentence"),
    [
        (("watch", "1"), "cyclopts", "the command line needs an extra: pip install 'jobws[cli]'"),
        (("serve",), "redis", "jobws serve needs an extra: pip install 'jobws[server]'"),
        (("serve",), "hypercorn", "jobws serve needs an extra: pip install 'jobws[server]'"),
        (("demo", "--once"), "bullmq", "jobws demo needs an extra: pip install 'jobws[demo]'"),
        (("watch",), "", 'Command "watch" parameter --job requires an argument.'),
        (("wacth",), "", 'Unknown command "wacth". Did you mean "watch"? Available commands: serve, watch, demo.'),
        (("serve", "--port", "x"), "", 'Invalid value for --port: unable to convert "x" into int.'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_are_one_line(arguments: tuple[str, ...], hide: str, sentence: str) -> None:
    assert run(*arguments, hide=hide) == (2, f"jobws: {sentence}\n")


def test_the_client_needs_nothing_of_the_server() -> None:
    hidden = ("redis", "hiredis", "starlette", "hypercorn", "prometheus_client", "cyclopts", "rich")
    code = f"import sys\nfor name in {hidden!r}: sys.modules[name] = None\nimport jobws.client"
    subprocess.run([sys.executable, "-c", code], check=True)
