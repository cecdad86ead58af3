"""The stand-in for BullMQ's QueueEvents of examples/queue-events passes what BullMQ's tests say about the original."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from shutil import copy
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.support import require
from tests.support.bridge import live_bridge
from tests.support.documents import ROOT
from tests.support.node import NODE, install_packages

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis

EXAMPLES = ROOT / "examples"
QUEUES = tuple(f"q{number}" for number in range(20))


@pytest.mark.parametrize("which", ["bullmq", "jobws"])
async def test_the_stand_in_for_queue_events(redis: Redis, tmp_path: Path, which: str) -> None:
    """The same assertions hold for the original, which shows that they say what BullMQ does."""
    node = require("node")
    await anyio.to_thread.run_sync(install_packages)
    folder = EXAMPLES / "queue-events"
    wanted = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    assert wanted.pop("jobws") == "file:../../src/jobws/web"
    assert wanted.items() <= json.loads((NODE / "package.json").read_text("utf-8"))["dependencies"].items()
    (tmp_path / "node_modules").mkdir()
    for package in (NODE / "node_modules").iterdir():
        (tmp_path / "node_modules" / package.name).symlink_to(package)
    (tmp_path / "node_modules" / "jobws").symlink_to(ROOT / "src" / "jobws" / "web")
    for file in (folder / "queue-events.js", folder / "package.json", NODE / "queue-events.mjs"):
        copy(file, tmp_path)
    password = redis.server.url.split(":")[2].split("@")[0]
    async with live_bridge(redis.url, queues=QUEUES) as live:
        command = [node, "queue-events.mjs", which, str(redis.server.port), password, live.url]
        run = partial(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
        done = await anyio.to_thread.run_sync(run)
    assert done.returncode == 0, done.stdout
