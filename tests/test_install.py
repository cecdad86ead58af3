"""The wheel in a fresh environment, with one extra after the other: what works, and which line says what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis

PROJECT = Path(__file__).parent.parent
# The whole way of a job with only the client, then which packages were imported for it.
PROGRAM = """
import sys, trio
import jobws.sync
from jobws.client import connect

async def main():
    async with connect(sys.argv[1]) as jobs:
        submitted = await jobs.submit("http", {"n": 1}, job_id="mine")
        async with jobs.watch("mine", "http") as events:
            print(events.snapshots["mine"][0]["state"], (await jobs.lookup("mine"))[0]["state"])
            print((await anext(events)).data["returnvalue"])

trio.run(main)
with jobws.sync.connect(sys.argv[1]) as jobs:
    print(jobs.wait("mine"))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"redis", "hiredis", "starlette", "hypercorn", "rich"}))
"""


WRITER = """
import logging, sys
from jobws.logs import LogsHandler
logging.basicConfig(handlers=[LogsHandler(sys.argv[1])])
logging.error("written")
"""


# An app that mounts the bridge. It prints which packages that only `jobws serve` needs are installed.
MOUNTED = """
from importlib.util import find_spec
from jobws.server import Bridge, Settings
unneeded = ("cyclopts", "rich", "hypercorn", "httptools")
print(callable(Bridge(Settings()).app), [name for name in unneeded if find_spec(name)])
"""


class Environment:
    """A fresh virtual environment with the project's wheel."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(directory), str(PROJECT))
        (self._wheel,) = directory.glob("jobws-*.whl")
        self._run(sys.executable, "-m", "venv", "--without-pip", str(directory / "venv"))

    def install(self, extras: str = "") -> None:
        pip = (sys.executable, "-m", "pip", "--python", self.program("python"))
        self._run(*pip, "install", "-q", "--no-compile", f"{self._wheel}{extras}")

    def program(self, name: str) -> str:
        return str(self._directory / "venv" / "bin" / name)

    def jobws(self, *arguments: str) -> tuple[int, str]:
        """Run the command. Return its exit code and its standard error."""
        command = [self.program("jobws"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
        return done.returncode, done.stderr

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
        assert done.returncode == 0, done.stderr


@contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill the process at the end, since a failed test would wait for it."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


def _environment() -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("JOBWS_", "PYTHON"))},
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.mark.long
@pytest.mark.thorough
async def test_each_extra_adds_its_part_and_its_absence_is_one_line(redis: Redis, tmp_path: Path) -> None:
    fresh = await anyio.to_thread.run_sync(Environment, tmp_path)
    await anyio.to_thread.run_sync(fresh.install)
    assert fresh.jobws("watch", "1") == (2, "jobws: the command line needs an extra: pip install 'jobws[cli]'\n")

    command = [fresh.program("python"), "-u", "-c", PROGRAM]
    async with live_bridge(redis.url) as live:
        run = partial(subprocess.Popen, env=_environment(), stdout=subprocess.PIPE, text=True)
        with run([*command, live.url]) as client, killed_at_the_end(client):
            assert client.stdout is not None
            assert await anyio.to_thread.run_sync(client.stdout.readline) == "waiting waiting\n"
            redis.add_event("http", "completed", "mine", returnvalue='{"answer":42}')
            rest = await anyio.to_thread.run_sync(client.stdout.read)
            assert rest.splitlines() == ["{'answer': 42}", "{'answer': 42}", "[]"]

    write = [fresh.program("python"), "-c", WRITER, redis.url]
    done = await anyio.to_thread.run_sync(
        partial(subprocess.run, write, env=_environment(), capture_output=True, text=True)
    )
    assert done.stderr.endswith("MissingExtraError: jobws.logs needs an extra: pip install 'jobws[logs]'\n")
    await anyio.to_thread.run_sync(fresh.install, "[logs]")
    done = await anyio.to_thread.run_sync(
        partial(subprocess.run, write, env=_environment(), capture_output=True, text=True)
    )
    assert (done.returncode, done.stderr, redis.client.xlen("jobws:logs")) == (0, "", 1)

    await anyio.to_thread.run_sync(fresh.install, "[server]")
    mount = [fresh.program("python"), "-c", MOUNTED]
    done = await anyio.to_thread.run_sync(
        partial(subprocess.run, mount, env=_environment(), capture_output=True, text=True)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True []\n", "")

    await anyio.to_thread.run_sync(fresh.install, "[cli]")
    assert fresh.jobws("serve") == (2, "jobws: jobws serve needs an extra: pip install 'jobws[serve]'\n")
    assert fresh.jobws("status", "1", "--url", "http://127.0.0.1:1")[0] == 3

    await anyio.to_thread.run_sync(fresh.install, "[serve]")
    assert fresh.jobws("demo", "--once") == (2, "jobws: jobws demo needs an extra: pip install 'jobws[demo]'\n")
    assert await anyio.to_thread.run_sync(_submit_to, fresh, redis.url) == (
        *(501, '"detail":"adding jobs needs an extra on the bridge: pip install \'jobws[submit]\'"'),
    )


def _submit_to(fresh: Environment, redis_url: str) -> tuple[int, str]:
    """Send a POST to a bridge without `[submit]`. Return the status, and the part of the body that says why.

    Also checks that the bridge of the wheel serves the adapter.
    """
    command = [fresh.program("jobws"), "serve", "--port", "0", "--redis", redis_url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=_environment()) as bridge:
        try:
            assert bridge.stderr is not None
            serving = next(line for line in bridge.stderr if " serves http" in line)
            url = serving.split(" serves ")[1].split(" ")[0]
            with urllib.request.urlopen(url + "/jobws.js", timeout=60) as adapter:
                assert adapter.read() == (PROJECT / "src" / "jobws" / "web" / "jobws.js").read_bytes()
            request = urllib.request.Request(url + "/analyze/http", b"{}", {"Content-Type": "application/json"})
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=60)
            with caught.value as answer:
                body = answer.read().decode()
            return answer.code, body[body.index('"detail"') :].rstrip("}")
        finally:
            bridge.terminate()
