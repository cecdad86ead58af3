"""The servers as processes, only one of which runs at a time, and a Redis that writes the events itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import redis

from jobws.embedded import find_redis_server, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.clients import Kind

OPPONENT = Path(__file__).parent / "opponent"
BOARD = Path(__file__).parent / "board"
_SCRIPTS: dict[Kind, Path] = {
    "socketio": OPPONENT / "bridge.mjs",
    "plain": OPPONENT / "plain.mjs",
    "board": BOARD / "board.mjs",
}
# A script, so that Redis writes events without waiting for a client. The jobs take the events in turn. ARGV: prefix of
# the job ids, number of events, number of jobs, bytes of padding, name of the event.
_EVENTS = """
local pad = string.rep('x', tonumber(ARGV[4]))
for i = 0, tonumber(ARGV[2]) - 1 do
  redis.call('XADD', KEYS[1], '*', 'event', ARGV[5], 'jobId', ARGV[1] .. (i % tonumber(ARGV[3])),
    'returnvalue', '{"pad":"' .. pad .. '"}', 'prev', 'active')
end
"""


class Server(NamedTuple):
    """A running server."""

    kind: Kind
    port: int
    pid: int


class Events:
    """Writes BullMQ's events, as fast as Redis can.

    Attributes:
        port: The port of Redis.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.client: Any = redis.Redis(port=port)
        self._script = self.client.register_script(_EVENTS)

    def write(
        self, count: int, prefix: str, jobs: int, event: str = "completed", queue: str = "http", pad: int = 100
    ) -> None:
        """Write `count` events. The n-th is of the job `prefix` + n modulo `jobs`."""
        self._script(keys=[f"bull:{queue}:events"], args=[prefix, count, jobs, pad, event])

    def position(self, queue: str = "http") -> str:
        """Return the id of the last entry of a queue's stream."""
        return str(self.client.xinfo_stream(f"bull:{queue}:events")["last-generated-id"].decode())

    def clear(self) -> None:
        """Delete everything, and make queues with almost empty streams, as if they had been used before."""
        self.client.flushall()
        for queue in ("http", "sparql", "techstack", "analyzer"):
            self.client.hset(f"bull:{queue}:meta", "opts.maxLenEvents", 10000)
            self.client.xadd(f"bull:{queue}:events", {"event": "drained"})


def redis_version() -> str:
    """Return the name and version of the Redis server, such as `Valkey server v=9.1.2`."""
    command = [str(find_redis_server()), "--version"]
    return " ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[:3])


@contextmanager
def redis_server() -> Iterator[int]:
    """Run a private Redis without a password. Yield its port."""
    port = free_port()
    command = [str(find_redis_server()), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        client: Any = redis.Redis(port=port)
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def install_opponent(folder: Path = OPPONENT) -> None:
    """Install the packages that the folder's package.json names, unless they are installed."""
    packages = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    if not all((folder / "node_modules" / package).is_dir() for package in packages):
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"], cwd=folder, check=True
        )


@contextmanager
def server(
    kind: Kind, redis_port: int, *options: str, direct: bool = True, checkout: Path | None = None
) -> Iterator[Server]:
    """Run a fresh server that reads this Redis.

    `options` are those of `jobws serve`. `checkout` is the folder of another version of jobws, or None for this one.
    """
    port = free_port()
    if kind == "jobws":
        lane = "--direct" if direct else "--no-direct"
        redis_url = f"redis://127.0.0.1:{redis_port}"
        command = [sys.executable, "-m", "jobws", "serve", "--port", str(port), "--redis", redis_url, lane]
        command += options
        environment = dict(os.environ) if checkout is None else {**os.environ, "PYTHONPATH": str(checkout / "src")}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        lines, mark = process.stderr, " serves http"
    else:
        environment = {**os.environ, "PORT": str(port), "REDIS_PORT": str(redis_port), "NODE_ENV": "production"}
        process = subprocess.Popen(["node", _SCRIPTS[kind]], stdout=subprocess.PIPE, text=True, env=environment)
        lines, mark = process.stdout, "ready"
    try:
        assert lines is not None
        for line in lines:
            if mark in line:
                break
        # A full pipe would stop the server.
        threading.Thread(target=lambda: deque(lines, 0), daemon=True).start()
        time.sleep(1.0)  # QueueEvents starts at `$`, and nothing shows when it is connected
        yield Server(kind, port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
