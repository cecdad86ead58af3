"""`python -m tests.bench.many_rooms` measures how long one step of the bridge blocks its event loop, with many rooms.

There are 200 queues, and 100 clients with 100,000 rooms, half of them in one queue. Then everything happens that
concerns all rooms: the sweep, a gap, a restart of Redis, and a thousand queues that appear together and vanish. No step
may take longer than 50 ms, and no garbage collection longer than 200 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import redis

from jobws.embedded import find_redis_server, free_port
from tests.bench.clients import Clients, masked, raise_file_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_MILLISECONDS: Final = 50
COLLECTION_MILLISECONDS: Final = 200
ROOMS_PER_CLIENT: Final = 1000


class Redis:
    """A Redis that keeps its data, and can be killed and started again."""

    def __init__(self, directory: str) -> None:
        self.port = free_port()
        self._command = [
            *(str(find_redis_server()), "--port", str(self.port), "--dir", directory, "--bind", "127.0.0.1"),
            *("--save", "", "--appendonly", "yes"),
        ]
        self.client: Any = redis.Redis(port=self.port)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Kill the server."""
        self._process.kill()
        self._process.wait()

    def make_queues(self, prefix: str, count: int, entries: int) -> None:
        """Make queues. The stream of each has so many entries, each about another job."""
        with self.client.pipeline(transaction=False) as pipe:
            for number in range(count):
                pipe.hset(f"bull:{prefix}{number}:meta", "opts.maxLenEvents", 10_000)
                for job in range(entries):
                    pipe.xadd(f"bull:{prefix}{number}:events", {"event": "waiting", "jobId": f"old{job}"})
            pipe.execute()


class Bridge:
    """The bridge of `tests.bench.steps`, as a process."""

    def __init__(self, redis_port: int, queues: tuple[str, ...], **settings: Any) -> None:
        settings["queues"] = queues
        command = [sys.executable, "-m", "tests.bench.steps", f"redis://127.0.0.1:{redis_port}", json.dumps(settings)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.port = int(self._line()["url"].rsplit(":", 1)[1])

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def longest(self, command: str = "") -> dict[str, Any]:
        """Return the longest steps since the last call, as `Recorder.take` does. `command` is done before."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return self._line()

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextmanager
def _phase(name: str, bridge: Bridge, found: dict[str, Any], command: str = "") -> Iterator[None]:
    began = time.monotonic()
    yield
    found[name] = bridge.longest(command) | {"seconds": round(time.monotonic() - began, 1)}
    print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)


def measure(queues: int, rooms: int, *, more_queues: int) -> dict[str, Any]:
    """Return, by what happened, the longest steps and garbage collections."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        server = Redis(directory)
        server.start()
        server.make_queues("q", queues, 10)
        server.make_queues("q", 16, 10_000)
        bridge = Bridge(server.port, ("*",), sweep_seconds=5.0, discover_seconds=1.0)
        count = rooms // ROOMS_PER_CLIENT
        try:
            with _phase("reading back", bridge, found):
                time.sleep(3)
            clients = Clients("jobws", bridge.port)
            with _phase("subscribing", bridge, found):
                clients.connect(count)
                _subscribe(clients, queues, count)
                _settle(clients)
            with _phase("subscribing without a queue", bridge, found):
                unqualified = Clients("jobws", bridge.port)
                unqualified.connect(3)
                unqualified.subscribe([[f"u{number}" for number in range(1000)]] * 3)
                _settle(clients)
                unqualified.drain(0.5)
            with _phase("sweep", bridge, found):
                _settle(clients, 12)
            with _phase("a full collection", bridge, found, "collect"):
                pass
            with _phase("a flood of events", bridge, found):
                for start in range(100):
                    with server.client.pipeline(transaction=False) as pipe:
                        for number in range(1000):
                            pipe.xadd("bull:q0:events", {"event": "completed", "jobId": f"j{start * 1000 + number}"})
                        pipe.execute()
                _settle(clients)
            with _phase("a gap", bridge, found):
                server.client.delete("bull:q0:events")
                server.client.xadd("bull:q0:events", {"event": "waiting", "jobId": "j1"})
                _settle(clients, 10)
            with _phase("Redis restarts", bridge, found):
                server.stop()
                server.start()
                _settle(clients, 10)
            with _phase("Redis restarts without data", bridge, found):
                server.client.flushall()
                server.stop()
                server.start()
                server.make_queues("q", queues, 10)
                _settle(clients, 15)
            with _phase("queues appear", bridge, found):
                server.make_queues("more", more_queues, 10)
                _settle(clients, 10)
            with _phase("queues vanish", bridge, found):
                for number in range(more_queues):
                    server.client.delete(f"bull:more{number}:meta", f"bull:more{number}:events")
                _settle(clients, 10)
            with _phase("clients leave", bridge, found):
                clients.close()
                unqualified.close()
                time.sleep(3)
        finally:
            bridge.stop()
            server.stop()
    return found


def _subscribe(clients: Clients, queues: int, count: int) -> None:
    """Subscribe each client to so many jobs, half of them in the first queue."""
    for number, sock in enumerate(clients.sockets):
        items = [
            {"jobId": f"j{number * ROOMS_PER_CLIENT + each}", "queue": f"q{each // 2 % queues if each % 2 else 0}"}
            for each in range(ROOMS_PER_CLIENT)
        ]
        sock.sendall(masked(json.dumps({"event": "subscribe-job", "data": items})))
    clients.await_acks(count)


def _settle(clients: Clients, seconds: float = 3) -> None:
    clients.drain(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.many_rooms", description=__doc__)
    parser.add_argument("--queues", type=int, default=200)
    parser.add_argument("--rooms", type=int, default=100_000)
    parser.add_argument("--more-queues", type=int, default=1000)
    arguments = parser.parse_args()
    raise_file_limit()
    found = measure(arguments.queues, arguments.rooms, more_queues=arguments.more_queues)
    print(f"{arguments.queues} queues, {arguments.rooms:,} rooms; CPU time, ms\n")
    print("| | longest step | longest collection | |\n|---|---|---|---|")
    for name, each in found.items():
        collection = max((longest for _, longest in each["collections"].values()), default=0.0)
        missed = each["longest"] > STEP_MILLISECONDS or collection > COLLECTION_MILLISECONDS
        print(f"| {name} | {each['longest']:.1f} | {collection:.1f} | {'missed' if missed else ''} |")


if __name__ == "__main__":
    main()
