"""`python -m tests.bench.refused`: how long a refused answer takes for a job that exists, and for one that does not.

A client that could tell the two apart would learn which jobs there are. The tries alternate between the two.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobws.tokens import mint
from tests.bench.clients import handshake, masked
from tests.bench.servers import Events, redis_server, server

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET: Final = "s" * 32
JOBS: Final = ("existing", "missing0")
# After 100 refusals within 10 s, the bridge ends a connection.
REFUSALS: Final = 80


def over_http(port: int, token: str) -> Callable[[str], float]:
    """Return what asks for a job over one connection, and returns the seconds that it took."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask(job: str) -> float:
        began = time.perf_counter()
        connection.request("GET", f"/jobs/http/{job}", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        response.read()
        took = time.perf_counter() - began
        assert response.status == 403
        return took

    return ask


class OverWebSocket:
    """Subscribes to jobs over a WebSocket."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = f"Authorization: Bearer {token}\r\n"
        self._left = 0
        self._socket = socket.socket()

    def ask(self, job: str) -> float:
        """Ask for a job. Return the seconds that it took."""
        if not self._left:
            self._socket.close()
            self._socket = socket.create_connection(("127.0.0.1", self._port))
            self._socket.sendall(handshake("/ws", self._port, self._headers))
            greeting = b""
            while b'"hello"' not in greeting:
                greeting += self._socket.recv(1 << 16)
            self._left = REFUSALS
        self._left -= 1
        message = masked(json.dumps({"event": "subscribe-job", "data": {"jobId": job, "queue": "http"}}))
        began = time.perf_counter()
        self._socket.sendall(message)
        answer = self._socket.recv(1 << 16)
        took = time.perf_counter() - began
        assert b'"forbidden"' in answer, answer
        return took


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.refused", description=__doc__)
    parser.add_argument("--tries", type=int, default=1000, help="for each of the two jobs")
    tries = parser.parse_args().tries
    token = mint(SECRET, "read:jobs:http/mine", seconds=3600)
    with tempfile.TemporaryDirectory() as folder, redis_server() as redis_port:
        secret = Path(folder, "secret")
        secret.write_text(SECRET, encoding="ascii")
        events = Events(redis_port)
        events.clear()
        events.client.hset("bull:http:existing", mapping={"name": "n", "data": "{}", "timestamp": "1"})
        events.client.zadd("bull:http:completed", {"existing": 1})
        with server("jobws", redis_port, "--jwt-secret-file", str(secret)) as bridge:
            for name, ask in (
                ("HTTP", over_http(bridge.port, token)),
                ("WebSocket", OverWebSocket(bridge.port, token).ask),
            ):
                seen: dict[str, list[float]] = {job: [] for job in JOBS}
                for number in range(tries):
                    # Which of the two comes first alternates, too.
                    for job in JOBS if number % 2 else reversed(JOBS):
                        seen[job].append(ask(job))
                existing, missing = (statistics.median(seen[job]) * 1e6 for job in JOBS)
                print(f"{name}: existing {existing:.1f} µs, missing {missing:.1f} µs, {existing / missing - 1:+.2%}")


if __name__ == "__main__":
    main()
