"""`python -m tests.bench.refused`: how long a refused answer takes for a job that exists, and for one that does not.

A client that could tell the two apart would learn which jobs there are. The tries alternate between the two, for each
cell of the table of access in which a client with a token is refused. Two times are measured: until the client has the
answer, and the CPU time of the bridge, which other programs disturb less. Fails if the answers to one differ by 5 % or
more. It needs a quiet machine.
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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.bench.clients import cpu_seconds, handshake, masked
from tests.bench.servers import Events, redis_server, server
from tests.support import access_operations, websocket_operations
from tests.support.access_table import HTTP, WEBSOCKETS, rows, tokens
from tests.support.signing import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOBS: Final = ("here", "gone")
# After 100 refusals within 10 s, the bridge ends a connection.
REFUSALS: Final = 80
# The columns of the table, and what is in their cells if the client is refused after its token was verified.
COLUMNS: Final = {4: "another queue", 5: "another job", 6: "narrower rights"}
REFUSED: Final = ("no", "403")
MOST: Final = 0.05


def refused(table: str) -> Iterator[tuple[str, str, str]]:
    """Yield what is refused: an operation of the table, what the client's rights are for, and the client's token."""
    for name, right, narrower, cells in rows(table):
        for column, rights in COLUMNS.items():
            token = tokens(right, narrower, "neither")[column]
            if cells.split()[column] in REFUSED and token is not None:
                yield name, rights, token


def over_http(port: int, token: str, name: str) -> Callable[[str], float]:
    """Return what asks for a job over a connection of its own, and returns the seconds that the answer took."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    operation = access_operations.OPERATIONS[name]
    text = None if operation.body is None else json.dumps(operation.body)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(job: str) -> float:
        path = operation.path.replace("=ID", f"={job}").replace("/ID", f"/{job}")
        body = None if text is None else text.replace("ID", job)
        connection.connect()  # a request that is refused before its body was read ends the connection
        began = time.perf_counter()
        connection.request(operation.method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        took = time.perf_counter() - began
        connection.close()
        assert b'"code":"forbidden"' in answer, answer
        return took

    return ask


class OverWebSocket:
    """Sends a request about jobs over a WebSocket."""

    def __init__(self, port: int, token: str, name: str) -> None:
        self._port = port
        self._headers = f"Authorization: Bearer {token}\r\n"
        self._left = 0
        self._socket = socket.socket()
        operation = websocket_operations.OPERATIONS[name]
        self._path = operation.path
        event, data = operation.asked[-1]
        self._text = json.dumps({"event": event, "data": data})

    def ask(self, job: str) -> float:
        """Ask for a job. Return the seconds that it took."""
        if not self._left:
            self._socket.close()
            self._socket = socket.create_connection(("127.0.0.1", self._port))
            self._socket.sendall(handshake(self._path, self._port, self._headers))
            greeting = b""
            while b'"hello"' not in greeting:
                greeting += self._socket.recv(1 << 16)
            self._left = REFUSALS
        self._left -= 1
        message = masked(self._text.replace("<id>", job))
        began = time.perf_counter()
        self._socket.sendall(message)
        answer = self._socket.recv(1 << 16)
        took = time.perf_counter() - began
        assert b'"forbidden"' in answer, answer
        return took


def cases(port: int) -> Iterator[tuple[str, Callable[[str], float]]]:
    """Yield the name of each case, and what asks for a job."""
    for name, rights, token in refused(HTTP):
        yield f"HTTP, {name}, {rights}", over_http(port, token, name)
    for name, rights, token in refused(WEBSOCKETS):
        yield f"WebSocket, {name}, {rights}", OverWebSocket(port, token, name).ask


def make_job(client: Any) -> None:
    """Make the first of the two jobs, which has completed."""
    client.hset(f"bull:http:{JOBS[0]}", mapping={"name": "n", "data": "{}", "timestamp": "1", "returnvalue": "42"})
    client.zadd("bull:http:completed", {JOBS[0]: 1})
    client.rpush(f"bull:http:{JOBS[0]}:logs", "a line")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.refused", description=__doc__)
    parser.add_argument("--tries", type=int, default=1000, help="for each of the two jobs")
    parser.add_argument("--only", default="", help="a part of the cases' names")
    options = parser.parse_args()
    differences: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder, redis_server() as redis_port:
        secret = Path(folder, "secret")
        secret.write_bytes(SECRET)
        events = Events(redis_port)
        events.clear()
        make_job(events.client)
        limits = ("--requests-per-minute", "100000000", "--requests-per-second", "1000000")
        with server("jobws", redis_port, "--jwt-secret-file", str(secret), *limits) as bridge:
            for name, ask in cases(bridge.port):
                if options.only in name:
                    existing, missing = compare(ask, bridge.pid, options.tries)
                    differences.append((existing.took / missing.took - 1, existing.cpu / missing.cpu - 1))
                    took, cpu = differences[-1]
                    print(f"{took:+7.2%} of {missing.took:7.1f} µs, CPU {cpu:+7.2%} of {missing.cpu:6.1f} µs  {name}")
    took, cpu = (max(each, key=abs) for each in zip(*differences, strict=True))
    print(f"the largest differences of {len(differences)} are {took:+.2%}, and of CPU {cpu:+.2%}")
    if abs(took) >= MOST:
        raise SystemExit(f"a difference is {MOST:.0%} or more")


class Times(NamedTuple):
    """How long an answer took, and of that the CPU time of the bridge: medians in microseconds."""

    took: float
    cpu: float


def compare(ask: Callable[[str], float], pid: int, tries: int) -> list[Times]:
    """Return the times for the two jobs."""
    seen: dict[str, list[tuple[float, float]]] = {job: [] for job in JOBS}
    for number in range(tries):
        # Which of the two comes first alternates, too.
        for job in JOBS if number % 2 else reversed(JOBS):
            before = cpu_seconds(pid)
            took = ask(job)
            # Linux counts the time when the bridge waits again, which may be after the answer has come.
            while (after := cpu_seconds(pid)) == before:
                pass
            seen[job].append((took, after - before))
    medians = ([statistics.median(each) * 1e6 for each in zip(*seen[job], strict=True)] for job in JOBS)
    return [Times(*each) for each in medians]


if __name__ == "__main__":
    main()
