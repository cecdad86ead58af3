"""The programs of examples/: the script, the worker in Node, and nginx in front. Also, how long an example may be."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from functools import partial
from shutil import copy
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from trio_websocket import ConnectionRejected

from jobws.client import connect, connect_logs
from jobws.embedded import free_port
from tests.support import require
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.documents import ROOT
from tests.support.node import NODE, install_packages
from tests.support.proxies import ask, changed, nginx

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis

EXAMPLES = ROOT / "examples"


def test_each_has_a_test_and_is_no_longer_than_two_screens() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests" / "examples").glob("test_*.py"))
    assert folders == {name for name in folders if f'"examples" / "{name}"' in tests or f'EXAMPLES / "{name}"' in tests}
    index = (EXAMPLES / "README.md").read_text("utf-8")
    for name in folders:
        assert f"({name}/" in index
        for file in (EXAMPLES / name).iterdir():
            if file.suffix in {".py", ".html", ".js", ".jsx", ".mjs", ".conf", ".service"}:
                assert file.read_text("utf-8").count("\n") <= 80, file


async def test_the_script(redis: Redis) -> None:
    command = [sys.executable, str(EXAMPLES / "script" / "results.py"), "techstack", "good", "bad"]

    def finish() -> None:
        for _ in range(2):
            job_id = redis.client.brpoplpush("bull:techstack:wait", "bull:techstack:active", 60)
            assert isinstance(job_id, bytes)
            data = redis.client.hget(f"bull:techstack:{job_id.decode()}", "data")
            if data == b'{"path":"good"}':
                redis.add_event("techstack", "completed", job_id, returnvalue='{"files":3}')
            else:
                redis.add_event("techstack", "failed", job_id, failedReason="no such path")

    async with live_bridge(redis.url) as live, anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, finish)
        environment = {**os.environ, "JOBWS_URL": live.url}
        run = partial(subprocess.run, command, capture_output=True, text=True, env=environment, check=False)
        done = await anyio.to_thread.run_sync(run)
    good, bad = sorted(done.stdout.splitlines(), reverse=True)
    assert good == "good: {'files': 3}"
    assert bad.startswith("bad: techstack/")
    assert bad.endswith(" failed: no such path")
    assert (done.returncode, done.stderr) == (1, "")


async def test_the_worker_in_node(redis: Redis, tmp_path: Path) -> None:
    node = require("node")
    await anyio.to_thread.run_sync(install_packages)
    folder = EXAMPLES / "node-worker"
    wanted = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    assert wanted.items() <= json.loads((NODE / "package.json").read_text("utf-8"))["dependencies"].items()
    copy(folder / "worker.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    environment = {**os.environ, "REDIS_URL": redis.url}
    start = partial(subprocess.Popen[str], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    async with live_bridge(redis.url) as live, connect(live.url) as jobs, connect_logs(live.url) as lines:
        with start([node, "worker.mjs"]) as worker:
            try:
                assert worker.stdout is not None
                assert await anyio.to_thread.run_sync(worker.stdout.readline) == "ready\n"
                url = live.url + "/healthz"
                async with jobs.watch("mine", "http", ["progress"], logs=True) as events:
                    await jobs.submit("http", {"url": url}, job_id="mine")
                    received: list[Any] = [(event.event, event.data) async for event in events]
                noted = [await anext(lines) for _ in range(2)]
                refused = await jobs.submit("http", {"url": live.url + "/nothing"}, job_id="refused")
                last = [await anext(lines) for _ in range(2)][1]
            finally:
                worker.send_signal(signal.SIGTERM)
        assert worker.returncode == 0
    assert {event for event, _ in received} == {"progress", "job-log", "completed"}
    assert [line for event, data in received if event == "job-log" for line in data["lines"]] == [f"{url} answered 200"]
    assert received[-1][1]["returnvalue"] == {"status": 200, "bytes": 3}
    assert [(line.message, line.source, line.queue, line.job_id) for line in noted] == [
        (f"fetching {url}", "node-worker", "http", "mine"),
        ("fetched", "node-worker", "http", "mine"),
    ]
    assert (last.level, last.message, last.job_id) == ("error", "status 404", refused.job_id)


def nginx_example(folder: Path, bridge: str, port: int) -> str:
    """Return the example's configuration with another port. `bridge` is host and port of the bridge."""
    encrypted = subprocess.run(
        [require("openssl"), "passwd", "-apr1", "secret"], capture_output=True, text=True, check=True
    )
    (folder / "passwords").write_text(f"me:{encrypted.stdout}")
    text = (EXAMPLES / "nginx" / "nginx.conf").read_text("utf-8")
    return changed(text, {"127.0.0.1:8787": bridge, "listen 8080;": f"listen 127.0.0.1:{port};"})


PASSWORD = ("Authorization", "Basic " + base64.b64encode(b"me:secret").decode())


async def test_nginx_in_front(redis: Redis, tmp_path: Path) -> None:
    redis.add_job("http", "42", state="active")
    own = ("Host", "jobs.example.com")
    async with live_bridge(redis.url, auth=False, allowed_hosts=("jobs.example.com",)) as live:
        port = free_port()
        with nginx(tmp_path, nginx_example(tmp_path, live.url.removeprefix("http://"), port)):
            url = f"http://127.0.0.1:{port}"
            answers = [
                (await anyio.to_thread.run_sync(partial(ask, url + "/queues", *headers)))[0]
                for headers in [(), (PASSWORD,), (PASSWORD, own), (PASSWORD, ("Host", "rebound.example"))]
            ]
            assert answers == [401, 200, 200, 403]
            assert (await anyio.to_thread.run_sync(ask, live.url + "/queues"))[0] == 200

            with pytest.RaisesGroup(ConnectionRejected, flatten_subgroups=True):
                async with raw_client(url):
                    pass
            async with raw_client(url, headers=[PASSWORD, ("Origin", url)]) as client:
                assert (await client.ask("subscribe-job", {"jobId": "42", "queue": "http"}))["event"] == "ack"
                sent = redis.add_event("http", "completed", "42", returnvalue="1")
                assert (await client.receive())["id"] == sent

            def first_event() -> bytes:
                request = urllib.request.Request(url + "/events?job=43&queue=http", headers=dict([PASSWORD]))
                with urllib.request.urlopen(request, timeout=60) as stream:
                    return b"".join(stream.readline() for _ in range(3))

            assert b"event: ack" in await anyio.to_thread.run_sync(first_event)
