"""The demo's worker as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from tests.support import EVENTUALLY_SECONDS

if TYPE_CHECKING:
    import signal
    from pathlib import Path


class Worker:
    """The process. When it has ended, `lines` has what it wrote to standard error."""

    def __init__(self, redis_url: str, root: Path, *arguments: str, python: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *(python or ("-m", "jobws.demo.worker")), "--root", str(root), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JOBWS_REDIS": redis_url},
        )
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def ready(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def end(self, number: signal.Signals | None = None) -> int:
        """End the process, by the end of its standard input or by a signal, and return its exit code."""
        if number is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
        else:
            self._process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait until the process has ended, and return its exit code."""
        assert self._process.stderr is not None
        code = self._process.wait(EVENTUALLY_SECONDS)
        self.lines = self._process.stderr.read().splitlines()
        return code
