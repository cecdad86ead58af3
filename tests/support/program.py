"""A program that reads and writes lines, as a process."""

from __future__ import annotations

import subprocess
from typing import Self


class Program:
    """The process of a command, which has printed `ready`. Use it as a context manager; the end closes its input."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        assert self.read_line() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def read_line(self) -> str:
        """Return the next line of its standard output. Only the test's time limit ends the wait."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def write_line(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
