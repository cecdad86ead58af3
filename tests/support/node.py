"""Node programs for tests, with packages from npm."""

from __future__ import annotations

import fcntl
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.support import require

if TYPE_CHECKING:
    from collections.abc import Iterator

NODE = Path(__file__).parent.parent / "node"


def install_packages(folder: Path = NODE, last: str = "bullmq") -> None:
    """What the folder's package.json names, up to the package `last`; once, into a folder that git ignores."""
    npm = require("npm", "node")
    with _only_process_in(folder):
        if not (folder / "node_modules" / last).is_dir():
            _install(npm, folder)


@contextmanager
def _only_process_in(folder: Path) -> Iterator[None]:
    """Tests run in several processes, and npm in one folder at the same time in two breaks what it installs."""
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


class NodeProcess:
    """A script of tests/node that has said `ready`. A context manager; it ends with its standard input."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [require("node"), str(NODE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self.read_line() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def read_line(self) -> str:
        """The next line of its output; the test's time limit bounds the wait."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def write_line(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
