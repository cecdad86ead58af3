"""Writes bursts of log lines, and watches them, in processes of their own.

The processes are `python -m tests.bench.logs write REDIS_PORT NAME COUNT` and `… watch PORT CLIENTS`. The second one
prints `ready` and reads until it is killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import hiredis

from tests.bench.clients import Clients, masked

if TYPE_CHECKING:
    from collections.abc import Iterator

BURST: Final = 50_000
WRITERS: Final = 3
WATCHERS: Final = 3
_LINES_AT_ONCE: Final = 100


@contextmanager
def log_burst(redis_port: int) -> Iterator[None]:
    """Let three processes write 50,000 lines as fast as they can during the context. Its end waits for them."""
    share = str(BURST // WRITERS + 1)
    writers = [_process("write", str(redis_port), f"w{number}", share) for number in range(WRITERS)]
    try:
        yield
        if any(writer.wait(60) for writer in writers):
            raise RuntimeError("a writer failed")
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


@contextmanager
def watching(port: int) -> Iterator[None]:
    """Let three clients read every line during the context."""
    watcher = _process("watch", str(port), str(WATCHERS))
    try:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "ready\n"
        yield
    finally:
        watcher.kill()
        watcher.wait()


def _process(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.bench.logs", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _write(port: int, name: str, count: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as redis:
        reader = hiredis.Reader()
        for start in range(0, count, _LINES_AT_ONCE):
            lines = range(start, min(start + _LINES_AT_ONCE, count))
            redis.sendall(b"".join(hiredis.pack_command(_command(name, number)) for number in lines))
            left = len(lines)
            while left:
                reader.feed(redis.recv(65536))
                while (reply := reader.gets()) is not False:
                    if isinstance(reply, hiredis.ReplyError):
                        raise reply
                    left -= 1


def _command(name: str, number: int) -> Any:
    fields = ("level", "info", "source", name, "message", f"line {number} of what a worker has to say", "queue", "http")
    return ("XADD", "jobws:logs", "MAXLEN", "~", 10_000, "*", *fields)


def _watch(port: int, count: int) -> None:
    clients = Clients("jobws", port, path="/logs")
    clients.connect(count)
    clients.say(masked('{"event":"subscribe-logs"}'))
    clients.await_acks(count)
    print("ready", flush=True)
    clients.drain(3600)


if __name__ == "__main__":
    # The clients stand for programs on other machines, so they must not take CPU time from the bridge.
    os.nice(19)
    if sys.argv[1] == "write":
        _write(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        _watch(int(sys.argv[2]), int(sys.argv[3]))
