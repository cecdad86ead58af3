"""Measures 200 busy queues, three of which have subscribers: what reading them costs, and how soon a subscriber of
another queue gets an event.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import hiredis

from tests.bench.clients import Clients, cpu_seconds, masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.servers import Events, Server

QUEUES: Final = 200
LISTENED: Final = 3
EVENTS_PER_SECOND: Final = 5000
SECONDS: Final = 10


def busy_queues(server: Server, events: Events) -> dict[str, float]:
    """Measure the CPU at 5,000 events a second over all queues: with subscribers to three queues, then with one more to
    all queues.
    """
    redis_pid = int(events.client.info()["process_id"])
    _make(server, events)
    clients = Clients(server.kind, server.port)
    clients.connect(1)
    for number in range(LISTENED):
        clients.say(masked(json.dumps({"event": "subscribe-queue", "data": f"m{number}"})))
    clients.await_acks(LISTENED)
    figures = {}
    # What it costs Redis to add the events, without a reader.
    unread = _cpu(events, redis_pid, redis_pid, "x")[0]
    for name in ("200 queues, 3 listened to", "and one subscription without a queue"):
        with _writing(events, 3):
            time.sleep(3)
        bridge, redis = _cpu(events, server.pid, redis_pid)
        figures[f"{name}: CPU of the bridge per event, µs"] = bridge * 1e6
        figures[f"{name}: CPU of Redis per event, for reading, µs"] = (redis - unread) * 1e6
        clients.say(masked(json.dumps({"event": "subscribe-job", "data": "nobody"})))
        clients.drain(1)
    with _writing(events, 30):
        times = [_first_event(clients, events, number) for number in range(LISTENED, LISTENED + 30)]
    clients.close()
    figures["first event after a subscription during a pause: median, ms"] = statistics.median(times) * 1000
    figures["the same: longest, ms"] = max(times) * 1000
    return figures


def _make(server: Server, events: Events) -> None:
    for number in range(QUEUES):
        events.client.hset(f"bull:m{number}:meta", "opts.maxLenEvents", 10_000)
        events.client.xadd(f"bull:m{number}:events", {"event": "drained"})
    while b"unknown-queue" in _body(f"http://127.0.0.1:{server.port}/jobs/m{QUEUES - 1}/none"):
        time.sleep(0.2)
    time.sleep(2)


def _body(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url) as answer:
            body: bytes = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    return body


def _cpu(events: Events, pid: int, other: int, prefix: str = "bull") -> tuple[float, float]:
    """Return the CPU seconds that two processes use for each event.

    On a busy machine, fewer events are written than planned.
    """
    with _writing(events, SECONDS, prefix):
        before, count = (cpu_seconds(pid), cpu_seconds(other)), _written(events)
        time.sleep(SECONDS)
        count = _written(events) - count
        return (cpu_seconds(pid) - before[0]) / count, (cpu_seconds(other) - before[1]) / count


def _written(events: Events) -> int:
    return int(events.client.info("commandstats")["cmdstat_xadd"]["calls"])


@contextmanager
def _writing(events: Events, seconds: float, prefix: str = "bull") -> Iterator[None]:
    """Have a process write to all queues in turn, one event at a time, as workers do.

    It ends with the context, or after so many seconds.
    """
    command = [sys.executable, "-m", "tests.bench.busy_queues", str(events.port), str(seconds + 1), prefix]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _first_event(clients: Clients, events: Events, number: int) -> float:
    """Subscribe to a queue without subscribers, and write an event immediately.

    Return the seconds until the event comes.
    """
    time.sleep(0.1)
    began = time.perf_counter()
    clients.say(masked(json.dumps({"event": "subscribe-job", "data": {"jobId": "first", "queue": f"m{number}"}})))
    events.client.xadd(f"bull:m{number}:events", {"event": "completed", "jobId": "first", "returnvalue": "1"})
    clients.take(1)
    return time.perf_counter() - began


def write(port: int, seconds: float, prefix: str) -> None:
    """Write one event after the other to all queues in turn, at a steady pace."""
    commands = []
    for number in range(EVENTS_PER_SECOND):
        fields = ("event", "active", "jobId", f"j{number}", "prev", "waiting")
        stream = f"{prefix}:m{number % QUEUES}:events"
        command = ("XADD", stream, "MAXLEN", "~", 10_000, "*", *fields)
        commands.append(hiredis.pack_command(command))  # type: ignore[arg-type]
    with socket.create_connection(("127.0.0.1", port)) as redis:
        redis.setblocking(False)
        print(flush=True)
        due = time.perf_counter()
        for number in range(int(seconds * EVENTS_PER_SECOND)):
            redis.sendall(commands[number % EVENTS_PER_SECOND])
            with suppress(BlockingIOError):
                redis.recv(65536)
            due += 1 / EVENTS_PER_SECOND
            time.sleep(max(0.0, due - time.perf_counter()))


if __name__ == "__main__":
    write(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
