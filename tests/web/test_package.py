"""`npm pack` makes a package that a project can install, with right types and a hook that works."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from shutil import copy
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from tests.support import EVENTUALLY_SECONDS, eventually, require
from tests.support.bridge import live_bridge
from tests.support.node import NodeProcess, install_packages

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "src" / "jobws" / "web"
REACT = ROOT / "tests" / "node-react"
# The members of a class, also inherited ones. The build gives private ones names of one letter.
LIST_NAMES = """
import * as jobws from 'jobws';
import * as queues from 'jobws/queues';
import * as react from 'jobws/react';
const jobs = jobws.io('http://127.0.0.1:1', { autoConnect: false, transports: ['polling'] });
const members = new Set();
for (let each = jobs; each !== Object.prototype; each = Object.getPrototypeOf(each))
  for (const name of Object.getOwnPropertyNames(each)) members.add(name);
members.delete('constructor');
const visible = [...members].filter((name) => name.length > 1);
const exported = Object.entries({ jobws, queues, react }).map(([name, module]) => [name, Object.keys(module)]);
console.log(JSON.stringify({ ...Object.fromEntries(exported), members: visible }));
"""
CHECK_NAMES = """
import * as jobws from 'jobws';
import * as queues from 'jobws/queues';
import * as react from 'jobws/react';
export const names: Record<keyof typeof jobws, true> = {jobws};
export const whole: Record<keyof typeof queues, true> = {queues};
export const hooks: Record<keyof typeof react, true> = {react};
export const members: Record<keyof jobws.Jobs, true> = {members};
"""


def run(*command: str, folder: Path) -> str:
    """Run a program, which must succeed, and return its standard output."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project with the package, React and TypeScript, and compile its TSX. Return its folder."""
    npm = require("npm", "node")
    install_packages(REACT, last="ws")
    folder = tmp_path_factory.mktemp("project")
    (packed,) = json.loads(run(npm, "pack", "--json", "--pack-destination", str(folder), folder=WEB))
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    run(npm, "install", "--offline", "--no-audit", "--no-fund", f"./{packed['filename']}", folder=folder)
    installed = folder / "node_modules"
    assert not (installed / "jobws").is_symlink()
    for package in (REACT / "node_modules").iterdir():
        if not package.name.startswith("."):
            (installed / package.name).symlink_to(package)
    for name in ("app.tsx", "elements.tsx", "types.ts", "mount.mjs", "tsconfig.json"):
        copy(REACT / name, folder)
    return folder


@pytest.fixture(scope="module")
def compiled(project: Path) -> Path:
    """Check that `tsc --strict` accepts the project, and return it."""
    node = require("node")
    names = json.loads(run(node, "--input-type=module", "-e", LIST_NAMES, folder=project))
    checks = CHECK_NAMES
    for key, listed in names.items():
        checks = checks.replace(f"{{{key}}}", json.dumps(dict.fromkeys(listed, True)))
    (project / "names.ts").write_text(checks)
    run(node, "node_modules/typescript/bin/tsc", folder=project)
    return project


class Page:
    """The process of mount.mjs, and what it wrote since the last look."""

    def __init__(self, process: NodeProcess) -> None:
        self._process = process

    def show(self, properties: dict[str, Any] | None) -> None:
        self._process.write_line(json.dumps(properties))

    async def until(self, shown: list[str]) -> list[Any]:
        """Return what it writes before its components show this."""
        before: list[Any] = []
        with anyio.move_on_after(EVENTUALLY_SECONDS):
            while True:
                line = await anyio.to_thread.run_sync(self._process.read_line, abandon_on_cancel=True)
                if json.loads(line) == shown:
                    return before
                before.append(json.loads(line))
        raise AssertionError(f"{shown} was not shown; it wrote {before}")


def rooms_in(lines: list[Any], request: str) -> list[Any]:
    """Return the items of all requests with this name."""
    return [room for line in lines if isinstance(line, dict) for room in line.get(request, ())]


async def test_the_package_compiles_under_strict(compiled: Path) -> None:
    assert (compiled / "built" / "app.js").is_file()


async def test_two_components_in_strict_mode_share_one_subscription(redis: Redis, compiled: Path) -> None:
    for job_id in ("1", "2", "3"):
        redis.add_job("http", job_id, state="active")
    async with live_bridge(redis.url) as live:
        rooms = live.bridge.fanout.rooms

        def watched(job_id: str) -> Callable[[], bool]:
            return lambda: [each.held for each in rooms.of_job("http", job_id)] == [None]

        with NodeProcess(str(compiled / "mount.mjs"), live.url) as process:
            page = Page(process)
            page.show({"jobId": "1", "queue": "http", "components": 2})
            lines = await page.until(["pending -", "pending -"])
            await eventually(watched("1"))
            redis.add_event("http", "progress", "1", data="50")
            lines += await page.until(["pending 50", "pending 50"])
            redis.add_event("http", "completed", "1", returnvalue='{"languages":["Python","Zig"]}')
            lines += await page.until(["completed 50 Python,Zig"] * 2)
            assert [room["jobId"] for room in rooms_in(lines, "subscribe-job")] == ["1"]
            assert not rooms_in(lines, "unsubscribe-job")

            # Nothing of the previous job is shown under the new id.
            page.show({"jobId": "2", "queue": "http", "components": 2})
            assert await page.until(["pending -", "pending -"]) == []
            await eventually(watched("2"))
            redis.add_event("http", "failed", "2", failedReason="no such page")
            await page.until(["failed - no such page"] * 2)
            page.show({"jobId": None, "queue": "http", "components": 2})
            await page.until(["idle -", "idle -"])

            page.show({"jobId": "3", "queue": "http", "components": 2})
            await page.until(["pending -", "pending -"])
            await eventually(watched("3"))
            page.show(None)
            await eventually(lambda: not rooms)
            # A component that is mounted after the job has ended.
            page.show({"jobId": "1", "queue": "http", "components": 1})
            await page.until(["completed - Python,Zig"])


async def test_what_else_may_become_of_a_job(redis: Redis, compiled: Path) -> None:
    redis.add_job("http", "1", state="active")
    async with live_bridge(redis.url) as live:
        rooms = live.bridge.fanout.rooms
        with NodeProcess(str(compiled / "mount.mjs"), live.url) as process:
            page = Page(process)
            page.show({"jobId": "1", "queue": "http", "components": 1})
            await page.until(["pending -"])
            await eventually(lambda: len(rooms.of_job("http", "1")) == 1)
            redis.client.delete("bull:http:1")
            redis.add_event("http", "removed", "1", prev="active")
            await page.until(["removed - job 1 of queue http was removed before it had ended"])

            page.show({"jobId": "9", "queue": "http", "components": 1})
            await page.until(["unknown - no job 9 of queue http; if it is about to be added, wait with {expect: true}"])
            redis.add_job("http", "9", state="active")
            redis.add_event("http", "progress", "9", data="10")
            await page.until(["pending 10"])
            redis.add_event("http", "completed", "9", returnvalue='{"languages":["Go"]}')
            await page.until(["completed 10 Go"])

            page.show({"jobId": "1", "queue": "nowhere", "components": 1})
            await page.until(["unknown - 1: this bridge has no `queue` of that label; GET /queues lists them"])


def test_it_is_what_the_python_package_is() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    assert package["version"] == version("jobws")
    assert "dependencies" not in package
    assert (WEB / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
