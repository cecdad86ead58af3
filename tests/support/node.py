"""Runs Node programs for tests, with packages from npm."""

from __future__ import annotations

import fcntl
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import require
from tests.support.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = Path(__file__).parent.parent / "node"


def install_packages(folder: Path = NODE, last: str = "bullmq") -> None:
    """Install the packages that the folder's package.json names, unless `last`, one of them, is already installed."""
    npm = require("npm", "node")
    with _only_process_in(folder):
        if not (folder / "node_modules" / last).is_dir():
            _install(npm, folder)


@contextmanager
def _only_process_in(folder: Path) -> Iterator[None]:
    """Let only one process in at a time. Tests run in several, and two npm in one folder break what they install."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _install(npm: str, folder: Path) -> None:
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        reason = f"npm cannot install what {folder.name}/package.json names: {done.stderr.strip()[:200]}"
        if "node" in os.environ.get("JOBWS_REQUIRE", "").split(","):
            pytest.fail(reason)
        pytest.skip(reason)


class NodeProcess(Program):
    """A script of tests/node as a process that has printed `ready`. Use it as a context manager."""

    def __init__(self, script: str, *arguments: str) -> None:
        super().__init__(require("node"), str(NODE / script), *arguments)
