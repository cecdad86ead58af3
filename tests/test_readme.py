"""What the README shows runs, as it is written there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from jobws.client import connect_logs
from tests.support import eventually, require
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.mounted import served
from tests.support.node import NODE, install_packages

if TYPE_CHECKING:
    from tests.support.redis import Redis

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
DEFAULT = "127.0.0.1:8787"


def block(language: str, part: str) -> str:
    """The code block that holds `part`."""
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if part in text)
    return str(found)


@pytest.mark.parametrize(("part", "count"), [("trio.run", 1), ("jobws.sync", 2)])
async def test_the_python_client(redis: Redis, part: str, count: int) -> None:
    async with live_bridge(redis.url) as live:
        program = block("python", part).replace(f"http://{DEFAULT}", live.url)
        run = partial(subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, check=True)
        ids: list[str] = []

        def finish() -> None:
            for number in range(count):
                job_id = redis.client.brpoplpush("bull:techstack:wait", "bull:techstack:active", 10)
                assert isinstance(job_id, bytes)
                redis.add_event("techstack", "completed", job_id, returnvalue=f'{{"x":{number}}}')
                ids.append(job_id.decode())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, finish)
            done = await anyio.to_thread.run_sync(run)
    names = [f"{job_id} " for job_id in ids] if count > 1 else [""]
    # An outcome that is read back may come behind one that came meanwhile.
    assert sorted(done.stdout.splitlines()) == sorted(f"{name}{{'x': {number}}}" for number, name in enumerate(names))


@pytest.mark.parametrize(("part", "queue"), [("JSON.parse(message.data)", "http"), ("data: '42' }))", "sparql")])
async def test_the_javascript(redis: Redis, part: str, queue: str) -> None:
    node = require("node")
    async with live_bridge(redis.url) as live:
        program = block("js", part).replace(f"ws://{DEFAULT}", live.url.replace("http", "ws"))
        # Node 20 has WebSocket only if asked.
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
    """The line is on the wire, and a Redis that takes none ends no worker."""
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
    command = next(re.finditer(r"`(XADD jobws:logs [^`]+)`", README))[1].split()
    redis.client.execute_command(*command, "queue", "http", "level", "error")  # type: ignore[no-untyped-call]
    async with live_bridge(redis.url) as live:
        program = block("js", "subscribe-logs").replace(f"ws://{DEFAULT}", live.url.replace("http", "ws"))
        page = [node, "--experimental-websocket", "--input-type=commonjs", "-e", program]
        with subprocess.Popen(page, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                lines = [await anyio.to_thread.run_sync(process.stdout.readline) for _ in range(3)]
            finally:
                process.kill()
    assert [json.loads(line)["event"] for line in lines] == ["hello", "ack", "log"]
    assert json.loads(lines[2])["data"]["message"] == "started"


async def test_the_mounted_bridge(redis: Redis) -> None:
    names: dict[str, Any] = {}
    program = block("python", "app.mount").replace("redis://127.0.0.1:6379", redis.url)
    redis.make_queue("found")
    await anyio.to_thread.run_sync(exec, program, names)
    with served(names["app"]) as url:
        async with raw_client(url + "/live") as client:
            await eventually(lambda: "found" in names["bridge"].queues.by_label)
            ack = await client.ask("subscribe-queue", "found")
            assert ack["event"] == "ack"
            sent = redis.add_event("found", "completed", "1", returnvalue="1")
            assert (await client.receive())["id"] == sent


def test_the_defaults_that_it_names() -> None:
    from jobws.cli.commands import DEFAULT_URL, logs
    from jobws.logs.writer import BUFFER_ENTRIES, EXIT_SECONDS
    from jobws.server import Settings

    settings = Settings()
    assert f"http://{settings.host}:{settings.port}" == DEFAULT_URL == f"http://{DEFAULT}"
    assert "reads `http`, `sparql`, `techstack` and `analyzer`" in README
    assert settings.queues == ("http", "sparql", "techstack", "analyzer")
    assert f"prints the last {signature(logs).parameters['tail'].default} lines" in README
    assert f"the newest {BUFFER_ENTRIES:,} lines" in README
    assert f"a program's end by {EXIT_SECONDS:.0f} s" in README
    assert f"`{settings.logs_stream}`, of about {settings.logs_limit_entries:,} lines" in README
    assert "closed after 4 MiB" in README
    assert settings.outbox_bytes == 4 * 1024 * 1024
    assert "1,000 subscriptions, 512 bytes an id" in README
    assert settings.max_subscriptions == 1000
