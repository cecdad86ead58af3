"""Writes events at a steady pace, in a process of its own: in the clients' it would wait for their interpreter.

`python -m tests.bench.writer PORT PLAN`, where PLAN is a `Plan` as JSON.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import hiredis

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Plan:
    """What to write.

    Attributes:
        kinds: At every turn, so many events of each: a prefix of job ids, how many jobs there are, events a turn.
            The n-th event of a kind is for the job prefix + n modulo jobs.
        turns: How many.
        seconds: From one turn to the next.
        pad: Bytes of padding in each event.
        keep: The stream is cut to so many entries; 0: it is not.
    """

    kinds: list[tuple[str, int, int]]
    turns: int
    seconds: float
    pad: int = 0
    keep: int = 0


@contextmanager
def writing(port: int, plan: Plan) -> Iterator[None]:
    """Write meanwhile; the end waits for the last event."""
    arguments = [sys.executable, "-m", "tests.bench.writer", str(port), json.dumps(asdict(plan))]
    process = subprocess.Popen(arguments)
    try:
        yield
        if process.wait(10):
            raise RuntimeError("the writer failed")
    finally:
        process.kill()
        process.wait()


def write(port: int, plan: Plan) -> None:
    """Write, one round trip a turn. Each event says when it was sent, on the machine's monotonic clock."""
    limit = ("MAXLEN", plan.keep) if plan.keep else ()
    pad = "x" * plan.pad
    with socket.create_connection(("127.0.0.1", port)) as redis:
        due = time.perf_counter()
        for turn in range(plan.turns):
            due += plan.seconds
            time.sleep(max(0.0, due - time.perf_counter()))
            commands = []
            for prefix, jobs, each in plan.kinds:
                for number in range(turn * each, turn * each + each):
                    sent = f'{{"sent":{time.monotonic():.9f}}}'
                    fields = ("event", "completed", "jobId", f"{prefix}{number % jobs}", "returnvalue", sent)
                    command = ("XADD", "bull:http:events", *limit, "*", *fields, "prev", "active", "pad", pad)
                    commands.append(hiredis.pack_command(command))
            redis.sendall(b"".join(commands))
            _await_replies(redis, len(commands))


def _await_replies(redis: socket.socket, count: int) -> None:
    reader = hiredis.Reader()
    while count:
        reader.feed(redis.recv(65536))
        while (reply := reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            count -= 1


if __name__ == "__main__":
    write(int(sys.argv[1]), Plan(**json.loads(sys.argv[2])))
