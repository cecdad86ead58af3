"""Writes events at a steady pace. It is a process of its own, since in that of the clients it would wait for the GIL.

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
    """What to write, and how fast.

    Attributes:
        kinds: The kinds of events: a prefix of job ids, the number of jobs, and the number of events in each turn. The
            n-th event of a kind is of the job prefix + n modulo jobs.
        turns: The number of turns.
        seconds: The time from one turn to the next.
        pad: The bytes of padding in each event.
        keep: To how many entries the stream is trimmed; 0 for no trimming.
        event: The name of the events.
    """

    kinds: list[tuple[str, int, int]]
    turns: int
    seconds: float
    pad: int = 0
    keep: int = 0
    event: str = "completed"


@contextmanager
def writing(port: int, plan: Plan) -> Iterator[None]:
    """Write during the context, in another process. The end of the context waits for the last event."""
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
    """Write the events, with one round trip for each turn.

    Each event has the time of its sending on the monotonic clock.
    """
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
                    fields = ("event", plan.event, "jobId", f"{prefix}{number % jobs}")
                    if plan.event == "progress":
                        values = ["data", sent]
                    else:
                        values = ["returnvalue", sent, "prev", "active", "pad", pad]
                    command = ("XADD", "bull:http:events", *limit, "*", *fields, *values)
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
