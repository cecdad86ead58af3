"""The code in README.md and docs/ runs as it is written there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from jobws.client import connect_logs
from tests.support import eventually, require
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client
from tests.support.documents import Block, block, blocks, page, pages_with
from tests.support.mounted import served
from tests.support.node import NODE, install_packages

if TYPE_CHECKING:
    from tests.support.redis import Redis

DEFAULT = "127.0.0.1:8787"
# Each block of code holds one of these: what a test here runs, or tests/server/jobs/test_shared_reads.py (ACL), or
# tests/web/test_origins.py (import), tests/access/test_tokens.py (mint), tests/web/test_proxies.py (--root-path, nginx,
# HAProxy), or tests/cli/test_token.py, or tests/server/test_privacy.py (--redact), or tests/server/test_hook.py
# (authenticate), or tests/server/test_authorized.py (authorize, Authorizer), or tests/web/test_elements_page.py (all of
# docs/elements.md); or what cannot be run in a test.
RUN = {
    "python": [
        "trio.run",
        "jobws.sync.connect(",
        "LogsHandler",
        "connect_logs",
        "lifespan=bridge.lifespan",
        "running()",
        "mint(secret",
        "authenticate=authenticate)",
        "authorize=authorize)",
        "class Authorizer(",
    ],
    "js": [
        "JSON.parse(message.data)",
        "data: '42' }))",
        "redis.xadd",
        "subscribe-logs",
        "import { io }",
        "createHmac",
        "import { JobwsElement }",
    ],
    "html": ["<jobws-job"],
    "css": ["jobws-job::part"],
    "jsx": ["<jobws-job"],
    "http": ["Content-Security-Policy"],
    "sh": ["jobws serve --redis", "jobws submit", "x-ndjson", "jobws token", "--root-path", "--redact"],
    "nginx": ["proxy_pass"],
    "haproxy": ["forwardfor"],
    "json": ["completed"],
    "": ["ACL SETUSER"],
}
NOT_RUN = {
    "make demo    #": "`.ci/run` runs both commands",
    "make check    ": "these are commands for the tests themselves",
    "──►": "a drawing; tests/test_architecture.py holds what it names",
    "debootstrap": "needs root and a quarter of an hour",
    "$ jobws logs": "what it printed once; tests/cli/test_follow.py runs the command",
}


@pytest.mark.parametrize("each", blocks(), ids=lambda each: f"{each.page}: {each.code[:40]!r}")
def test_every_block_is_run(each: Block) -> None:
    assert any(part in each.code for part in (*RUN[each.language], *NOT_RUN))


@pytest.mark.parametrize(("part", "count"), [("trio.run", 1), ("jobws.sync.connect(", 2)])
async def test_the_python_client(redis: Redis, part: str, count: int) -> None:
    async with live_bridge(redis.url) as live:
        program = block("python", part).replace(f"http://{DEFAULT}", live.url)
        assert live.url in program
        run = partial(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True)
        ids: list[str] = []

        def finish() -> None:
            for number in range(count):
                job_id = redis.client.brpoplpush("bull:techstack:wait", "bull:techstack:active", 60)
                assert isinstance(job_id, bytes)
                redis.add_event("techstack", "completed", job_id, returnvalue=f'{{"x":{number}}}')
                ids.append(job_id.decode())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, finish)
            done = await anyio.to_thread.run_sync(run)
    names = [f"{job_id} " for job_id in ids] if count > 1 else [""]
    # A replayed outcome may come after one that happened meanwhile.
    assert sorted(done.stdout.splitlines()) == sorted(f"{name}{{'x': {number}}}" for number, name in enumerate(names))


@pytest.mark.parametrize(("part", "queue"), [("JSON.parse(message.data)", "http"), ("data: '42' }))", "sparql")])
async def test_the_javascript(redis: Redis, part: str, queue: str) -> None:
    node = require("node")
    async with live_bridge(redis.url) as live:
        program = block("js", part).replace(f"ws://{DEFAULT}", live.url.replace("http", "ws"))
        # Node 20 has WebSocket only with this option.
        command = [node, "--experimental-websocket", "--input-type=commonjs", "-e", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as page:
            try:
                assert page.stdout is not None
                await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("http", "42")))
                redis.add_event(queue, "progress", "42", data="50")
                redis.add_event(queue, "completed", "42", returnvalue='{"answer":42}')
                lines: list[str] = []
                while "answer: 42" not in "".join(lines):
                    lines.append(await anyio.to_thread.run_sync(page.stdout.readline))
            finally:
                page.kill()
    if queue == "http":
        assert lines == ["so far 50\n", "result { answer: 42 }\n"]
    else:
        assert re.findall(r"event: '([^']+)'", "".join(lines)) == ["hello", "ack", "completed"]


async def test_the_python_worker_that_logs(redis: Redis) -> None:
    program = block("python", "LogsHandler").replace("redis://127.0.0.1:6379", redis.url)
    run = partial(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True)
    async with live_bridge(redis.url) as live, connect_logs(live.url) as lines:
        done = await anyio.to_thread.run_sync(run)
        line = await anext(lines)
    assert (done.stdout, done.stderr) == ("", "INFO:root:fetched 3 pages\n")
    assert (line.level, line.source, line.message) == ("info", "worker", "fetched 3 pages")
    assert (line.queue, line.job_id, line.fields) == ("http", "42", {"bytes": 52110})


@pytest.mark.parametrize("taken", [True, False], ids=["written", "refused by Redis"])
async def test_the_node_worker_that_logs(redis: Redis, taken: bool) -> None:
    """The worker writes the line, and does not end if Redis refuses it."""
    node = require("node")
    await anyio.to_thread.run_sync(install_packages)
    program = (
        f"const redis = new (require('ioredis'))({redis.url!r});\n"
        "const job = { queueName: 'http', id: '42' };\n"
        f"{block('js', 'redis.xadd')}"
        "redis.ping().then(() => redis.quit()).then(() => console.log('ended'));"
    )
    if not taken:
        redis.client.set("jobws:logs", "no stream")
    run = partial(subprocess.run, [node, "-e", program], cwd=NODE, capture_output=True, text=True, check=True)
    async with live_bridge(redis.url) as live:
        if not taken:
            assert (await anyio.to_thread.run_sync(run)).stdout == "ended\n"
            return
        async with connect_logs(live.url) as lines:
            assert (await anyio.to_thread.run_sync(run)).stdout == "ended\n"
            line = await anext(lines)
    assert (line.level, line.source, line.message) == ("info", "node-worker", "fetched 3 pages")
    assert (line.queue, line.job_id, line.fields) == ("http", "42", {"bytes": "52110"})


async def test_the_log(redis: Redis) -> None:
    node = require("node")
    command = next(re.finditer(r"`(XADD jobws:logs [^`]+)`", page("docs/logs.md")))[1].split()
    redis.client.execute_command(*command, "queue", "http", "level", "error")  # type: ignore[no-untyped-call]
    async with live_bridge(redis.url) as live:
        program = block("js", "subscribe-logs").replace(f"ws://{DEFAULT}", live.url.replace("http", "ws"))
        watching = [node, "--experimental-websocket", "--input-type=commonjs", "-e", program]
        with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                lines = [await anyio.to_thread.run_sync(process.stdout.readline) for _ in range(3)]
            finally:
                process.kill()
    assert [json.loads(line)["event"] for line in lines] == ["hello", "ack", "log"]
    assert json.loads(lines[2])["data"]["message"] == "started"


@pytest.mark.parametrize("part", ["lifespan=bridge.lifespan", "running()"])
async def test_the_mounted_bridge(redis: Redis, part: str) -> None:
    names: dict[str, Any] = {}
    program = block("python", part).replace("redis://127.0.0.1:6379", redis.url)
    redis.make_queue("found")
    await anyio.to_thread.run_sync(exec, program, names)
    with served(names["app"]) as url:
        async with raw_client(url + "/live") as client:
            await eventually(lambda: "found" in names["bridge"].queues.by_label)
            ack = await client.ask("subscribe-queue", "found")
            assert ack["event"] == "ack"
            sent = redis.add_event("found", "completed", "1", returnvalue="1")
            assert (await client.receive())["id"] == sent


async def test_the_python_reader_of_logs(redis: Redis) -> None:
    program = block("python", "connect_logs")
    redis.add_log("too low")
    redis.add_log("no such page", level="error")
    async with live_bridge(redis.url) as live:
        code = program.replace(f"http://{DEFAULT}", live.url)
        with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = await anyio.to_thread.run_sync(process.stdout.readline)
            finally:
                process.kill()
    assert line == "test no such page\n"


async def test_the_first_commands(redis: Redis) -> None:
    redis.make_queue("found")
    for name, code in {each.page: each.code for each in blocks() if "jobws serve --redis" in each.code}.items():
        install, serve = code.splitlines()
        # The reader of the README next runs programs that add jobs.
        extras = "serve,submit" if name == "README.md" else "serve"
        assert re.findall(r"pip install '(?:jobws|\.)\[(.+?)\]'", install) == [extras, extras]
        command = shlex.split(serve.replace("redis://127.0.0.1:6379", redis.url))
        assert command[:2] == ["jobws", "serve"]
        with BridgeProcess(*command[2:], "--port", "0") as bridge:
            url = await anyio.to_thread.run_sync(bridge.started)
            await eventually(partial(_lists, url + "/queues", b'"queue":"found"'))


def _lists(url: str, part: bytes) -> bool:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return part in answer.read()


async def test_the_commands(redis: Redis) -> None:
    require("curl")
    redis.add_job("http", "42", state="completed", returnvalue="1", finishedOn=1795435729358)
    redis.add_event("http", "completed", "42", returnvalue="1")
    redis.add_job("techstack", "42", state="completed", returnvalue="1", finishedOn=1795435729358)
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shown: list[str] = []
    async with live_bridge(redis.url) as live:
        run = partial(
            subprocess.run, capture_output=True, text=True, env={**os.environ, "PATH": programs, "JOBWS_URL": live.url}
        )
        for line in block("sh", "jobws submit").splitlines():
            # A stream has no end, so its first event is enough.
            shell = "set -o pipefail; " + line.replace(f"http://{DEFAULT}", live.url)
            command = ["bash", "-c", shell.replace("curl -N", "curl -sSN --max-time 1").replace("curl", "curl -sS")]
            done = await anyio.to_thread.run_sync(partial(run, command))
            assert done.returncode == (28 if "-N" in line else 0), done
            shown.append(done.stdout)
    submitted, watched, status, added, waited, events, listed = shown
    assert redis.client.hget(f"bull:techstack:{submitted.strip()}", "data") == b'{"path":"."}'
    assert "completed" in watched
    assert "http" in status
    assert "techstack" in status
    assert json.loads(added)["queue"] == "techstack"
    assert json.loads(waited)["state"] == "completed"
    assert "event: ack" in events
    assert json.loads(listed)["jobs"] == []


async def test_the_lines_that_are_posted(redis: Redis, tmp_path: Path) -> None:
    require("curl")
    (tmp_path / "lines.ndjson").write_text('{"message": "started", "source": "nightly"}\n')
    async with live_bridge(redis.url) as live:
        command = ["bash", "-c", block("sh", "x-ndjson").replace(f"http://{DEFAULT}", live.url)]
        run = partial(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=True)
        done = await anyio.to_thread.run_sync(run)
    assert json.loads(done.stdout)["accepted"] == 1


def test_the_json_is_json() -> None:
    for each in blocks():
        if each.language == "json":
            for line in each.code.splitlines():
                json.loads(line.replace(", …", "").replace("{…}", "{}"))


def test_the_readme_is_short() -> None:
    assert page("README.md").count("\n") <= 200


def test_the_defaults_that_are_named() -> None:
    from jobws.cli.commands import logs
    from jobws.cli.credentials import DEFAULT_URL
    from jobws.logs.writer import BUFFER_ENTRIES, EXIT_SECONDS
    from jobws.server import Settings

    settings = Settings()
    assert f"http://{settings.host}:{settings.port}" == DEFAULT_URL == f"http://{DEFAULT}"
    assert settings.queues == ("http", "sparql", "techstack", "analyzer")
    assert settings.outbox_bytes == 4 * 1024 * 1024
    sentences = {
        "reads `http`, `sparql`, `techstack` and `analyzer`": ["README.md", "docs/deployment.md"],
        f"prints the last {signature(logs).parameters['tail'].default} lines": ["docs/logs.md"],
        f"the newest {BUFFER_ENTRIES:,} lines": ["docs/logs.md"],
        f"a program's end by {EXIT_SECONDS:.0f} s": ["docs/logs.md"],
        f"`{settings.logs_stream}`, of about {settings.logs_limit_entries:,} lines": ["docs/logs.md"],
        "closed with 4000 as soon as 4 MiB wait": ["docs/operations.md"],
        f"{settings.slow_bytes_per_second / 1024:.0f} KiB a second for {settings.slow_seconds:.0f} s": [
            "docs/operations.md"
        ],
        f"silent for {settings.silence_seconds:.0f} s": ["docs/operations.md"],
        f"A shutdown takes {settings.shutdown_seconds:.0f} s at most": ["docs/operations.md"],
        f"every {settings.discover_seconds:.0f} s, and immediately when a client names one": ["docs/operations.md"],
        f"jobws checks each stream for holes, and reads watched jobs again every {settings.sweep_seconds:.0f} s": [
            "README.md"
        ],
        f"{settings.max_subscriptions:,} subscriptions, 512 bytes an id": ["docs/socketio.md"],
        f"{settings.ping_seconds:.0f} s, the interval of the bridge's pings": ["docs/deployment.md"],
    }
    assert {sentence: pages_with(sentence) for sentence in sentences} == sentences
