"""The pages of examples/ in Chromium: a plain one, one with React, and one of an app with a mounted bridge."""

from __future__ import annotations

import json
import runpy
import subprocess
from functools import partial
from shutil import copy, copytree
from typing import TYPE_CHECKING

import anyio.to_thread

from tests.support import eventually, require
from tests.support.bridge import live_bridge
from tests.support.documents import ROOT
from tests.support.mounted import served
from tests.support.node import install_packages
from tests.support.page_server import PageServer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.browser import Chromium
    from tests.support.redis import Redis

EXAMPLES = ROOT / "examples"
FOLLOW = """([queue, job]) => {
  const form = document.querySelector('form');
  form.queue.value = queue;
  form.job.value = job;
  form.requestSubmit();
}"""
SHOWN = "(texts) => [...document.querySelectorAll('li')].map((each) => each.textContent).join() === texts.join()"


def files_of(folder: Path) -> PageServer:
    """Return what `python -m http.server` would serve in this folder."""

    def read(path: str) -> bytes | None:
        file = folder / (path or "index.html")
        return file.read_bytes() if file.is_file() else None

    return PageServer(read)


async def test_the_plain_page(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    with files_of(EXAMPLES / "page") as pages:
        async with (
            live_bridge(redis.url, allowed_origins=(pages.origin,)) as live,
            chromium.page(f"{pages.origin}/index.html?bridge={live.url}") as page,
        ):
            await page.until("() => document.querySelector('form').onsubmit !== null")
            await page.run(FOLLOW, ["http", "42"])
            await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("http", "42")))
            redis.client.rpush("bull:http:42:logs", "12 manifests")
            redis.add_event("http", "progress", "42", data="50")
            await page.until("() => document.querySelector('progress').value === 50")
            redis.add_event("http", "completed", "42", returnvalue='{"pages":3}')
            await page.until(SHOWN, ["12 manifests", 'result: {"pages":3}'])
            await page.run(FOLLOW, ["nowhere", "1"])
            await page.until("() => document.querySelector('li')?.textContent.includes('no `queue` of that label')")


async def test_react(redis: Redis, chromium: Chromium, tmp_path: Path) -> None:
    folder = EXAMPLES / "react"
    require("node")
    package = json.loads((folder / "package.json").read_text("utf-8"))
    wanted = {**package["dependencies"], **package["devDependencies"]}
    assert wanted.pop("jobws") == "file:../../src/jobws/web"
    (tmp_path / "node_modules").mkdir()
    # From the folders in which other tests have the same packages, since installing them again would take seconds.
    for other, last in (("node-react", "ws"), ("node-build", "terser")):
        home = ROOT / "tests" / other
        await anyio.to_thread.run_sync(install_packages, home, last)
        dependencies = json.loads((home / "package.json").read_text("utf-8"))["dependencies"]
        wanted = {name: version for name, version in wanted.items() if dependencies.get(name) != version}
        for each in (home / "node_modules").iterdir():
            if not each.name.startswith("."):
                (tmp_path / "node_modules" / each.name).symlink_to(each)
    assert wanted == {}
    copytree(ROOT / "src" / "jobws" / "web", tmp_path / "node_modules" / "jobws")
    for name in ("app.jsx", "index.html"):
        copy(folder / name, tmp_path)
    esbuild = package["scripts"]["build"].split()
    build = [str(tmp_path / "node_modules" / "esbuild" / "bin" / esbuild[0]), *esbuild[1:]]
    await anyio.to_thread.run_sync(partial(subprocess.run, build, cwd=tmp_path, check=True, capture_output=True))

    redis.add_job("http", "42", state="active")
    with files_of(tmp_path) as pages:
        async with (
            live_bridge(redis.url, allowed_origins=(pages.origin,)) as live,
            chromium.page(f"{pages.origin}/index.html?bridge={live.url}") as page,
        ):
            await page.until("() => document.querySelector('form') !== null")
            await page.run(FOLLOW, ["http", "42"])
            await page.until(SHOWN, ["http/42: 0 %"])
            await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("http", "42")))
            redis.add_event("http", "progress", "42", data="50")
            await page.until(SHOWN, ["http/42: 50 %"])
            redis.add_event("http", "completed", "42", returnvalue='{"pages":3}')
            await page.until(SHOWN, ['http/42: {"pages":3}'])


async def test_the_mounted_bridge(redis: Redis, chromium: Chromium, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis.url)
    names = await anyio.to_thread.run_sync(runpy.run_path, str(EXAMPLES / "fastapi" / "app.py"))
    with served(names["app"]) as url:
        async with chromium.page(url) as page:
            await page.run("document.querySelector('button').click()")

            def finish(event: str, **fields: str) -> None:
                job_id = redis.client.brpoplpush("bull:reports:wait", "bull:reports:active", 60)
                assert isinstance(job_id, bytes)
                redis.add_event("reports", event, job_id, **fields)

            await anyio.to_thread.run_sync(partial(finish, "completed", returnvalue='{"text":"rain"}'))
            await page.until(SHOWN, ["Berlin: rain"])
            await page.run("document.querySelectorAll('button')[1].click()")
            await anyio.to_thread.run_sync(partial(finish, "failed", failedReason="no such city"))
            await page.until("() => document.querySelectorAll('li')[1]?.textContent.endsWith('failed: no such city')")
