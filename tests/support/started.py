"""Starts Python programs as processes, forked from a process that has already imported what they need.

A start of `jobws` takes 0.6 s, or 1.1 s for a bridge, and nearly all of it is imports. Tests about the start itself,
such as tests/test_install.py, start processes as usual.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from typing import IO, Any, Final, Self

from tests.starter import MESSAGE_BYTES
from tests.support import EVENTUALLY_SECONDS

PIPE: Final = subprocess.PIPE
STDOUT: Final = subprocess.STDOUT


class Started:
    """The process of `python -m module …`, with the methods of `subprocess.Popen` that tests need.

    Args:
        module: The module to run.
        arguments: The arguments of the program.
        env: The whole environment of the process.
        stdin, stdout, stderr: PIPE, or None for that of this process. `stderr` may be STDOUT, too.

    Attributes:
        returncode: The exit code; None until `poll` or `wait` has noticed the end.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: dict[str, str],
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        ours, theirs = os.pipe()
        given, passed = [theirs], [theirs]
        if stdin == PIPE:
            end, written = os.pipe()
            given.append(end)
            self.stdin = os.fdopen(written, "w", encoding="utf-8")
        passed.append(0 if stdin is None else given[-1])
        for number, (name, wanted) in enumerate((("stdout", stdout), ("stderr", stderr)), 1):
            if wanted == PIPE:
                read, end = os.pipe()
                given.append(end)
                setattr(self, name, os.fdopen(read, encoding="utf-8"))
            passed.append({None: number, STDOUT: passed[-1]}.get(wanted, given[-1]))
        self._status = os.fdopen(ours, encoding="utf-8")
        _starter().start({"module": module, "arguments": arguments, "env": env}, passed)
        for each in given:
            os.close(each)
        self.pid = int(self._status.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.stdin, self.stdout, self.stderr):
            if each is not None:
                each.close()
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, as `subprocess` has it, or None if the process still runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: The process still runs after `timeout` seconds.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            self.returncode = int(self._status.readline())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[str, str]:
        """End its standard input. Return the rest of standard output and standard error when it has ended."""
        if self.stdin is not None:
            self.stdin.close()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(_rest(self.stderr)))
        reader.start()
        out = _rest(self.stdout)
        reader.join()
        self.wait()
        return out, errors[0]


def _rest(file: IO[str] | None) -> str:
    if file is None:
        return ""
    with file:
        return file.read()


class _Starter:
    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self._control, theirs):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
        command = [sys.executable, "-m", "tests.starter", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._one = threading.Lock()
        atexit.register(self._end)

    def start(self, what: dict[str, Any], fds: list[int]) -> None:
        with self._one:
            socket.send_fds(self._control, [json.dumps(what).encode()], fds)

    def _end(self) -> None:
        self._control.close()
        self._process.wait(EVENTUALLY_SECONDS)


_starters: list[_Starter] = []
_first = threading.Lock()


def _starter() -> _Starter:
    with _first:
        if not _starters:
            _starters.append(_Starter())
        return _starters[0]
