"""What a hostile client does: `python -m tests.bench.attacks NAME PORT TOKEN`, until it is killed.

With a number in place of the three, it takes this share of a processor's time instead, without a connection.

It has the lowest priority, so that it takes time from the bridge by what it sends, and not by its own work.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from tests.bench.clients import handshake, raise_file_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MIB: Final = 1 << 20
# The bridge believes this header of loopback, so that limits of an address apply.
ADDRESS: Final = "X-Forwarded-For: 192.0.2.9\r\n"


class Socket:
    """A WebSocket that reads only when the bridge has sent much."""

    def __init__(self, port: int, headers: str, path: str = "/ws") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.sendall(handshake(path, port, headers))
        self.greeting = self._socket.recv(1 << 16)
        self._socket.setblocking(False)

    def say(self, message: object) -> None:
        """Send a message. Raises OSError if the bridge has closed the connection."""
        data = json.dumps(message).encode()
        head = b"\x81" + (bytes((0x80 | 126,)) + len(data).to_bytes(2) if 125 < len(data) < 65536 else b"")
        if len(data) < 126:
            head += bytes((0x80 | len(data),))
        elif len(data) > 65535:
            head += bytes((0x80 | 127,)) + len(data).to_bytes(8)
        with suppress(BlockingIOError):
            while self._socket.recv(1 << 20):
                pass
        self._socket.setblocking(True)
        self._socket.sendall(head + b"\0\0\0\0" + data)
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()


PERIOD_SECONDS: Final = 0.005


def busy(share: float) -> NoReturn:
    """Take this share of a processor's time, and do nothing."""
    while True:
        until = time.process_time() + share * PERIOD_SECONDS
        while time.process_time() < until:
            pass
        time.sleep((1 - share) * PERIOD_SECONDS)


def _again(port: int, token: str, messages: Callable[[], Iterator[object]], connections: int = 1) -> None:
    """Send messages over some connections in turn. A connection that the bridge ends is opened again."""
    headers = f"Authorization: Bearer {token}\r\n{ADDRESS}"
    sockets: list[Socket | None] = [None] * connections
    for number, message in enumerate(messages()):
        place = number % connections
        try:
            sock = sockets[place] = sockets[place] or Socket(port, headers)
            sock.say(message)
        except OSError:
            sockets[place] = None


def _rooms(port: int, token: str) -> None:
    """Join 20,000 rooms with 20 connections, again and again."""

    def lists() -> Iterator[object]:
        for number in itertools.count():
            jobs = [{"jobId": f"r{number}-{each}", "queue": "http"} for each in range(1000)]
            yield {"event": "subscribe-job", "data": jobs}

    _again(port, token, lists, 20)


def _names(port: int, token: str) -> None:
    """Send names of 500 kB, which are too long for a message, and of 250 kB, which are not."""
    _again(
        port,
        token,
        lambda: itertools.cycle(
            [{"event": "subscribe-job", "data": "x" * 250_000}] * 10
            + [{"event": "x" * 250_000}] * 5
            + [{"event": "subscribe-job", "data": {"jobId": "1", "sub": "x" * 500_000}}]
        ),
    )


def _flood(port: int, token: str) -> None:
    """Send pings and subscriptions as fast as they are taken."""
    _again(
        port,
        token,
        lambda: itertools.cycle([{"event": "ping"}, {"event": "subscribe-job", "data": "1"}]),
        10,
    )


def _connections(port: int, token: str) -> None:
    """Open 5,000 connections, and open each again that the bridge ends."""
    headers = f"Authorization: Bearer {token}\r\n{ADDRESS}"
    opened: list[Socket] = []
    while True:
        with suppress(OSError):
            opened.append(Socket(port, headers))
        if len(opened) > 5000:
            opened.pop(0).close()


def _reconnecting(port: int, token: str) -> None:
    """Connect, and leave."""
    while True:
        with suppress(OSError):
            Socket(port, f"Authorization: Bearer {token}\r\n{ADDRESS}").close()


def _guessing(port: int, token: str) -> None:
    """Try tokens: at the handshake, with `authenticate`, and over HTTP."""
    for number in itertools.count():
        guess = f"{token[:-6]}{number:06d}"
        with suppress(OSError):
            Socket(port, f"Authorization: Bearer {guess}\r\n{ADDRESS}").close()
        with suppress(OSError):
            sock = Socket(port, ADDRESS)
            for _ in range(10):
                sock.say({"event": "authenticate", "data": {"token": guess}})
            sock.close()
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            headers = {"Authorization": f"Bearer {guess}", "X-Forwarded-For": "192.0.2.9"}
            connection.request("GET", "/whoami", headers=headers)
            connection.getresponse().read()
            connection.close()


def _posting(port: int, token: str) -> None:
    """Send bodies of 1 MiB to `POST /logs`: ordinary lines, and those that take longest to parse."""
    line = json.dumps({"message": "x" * 90}).encode() + b"\n"
    bodies = [
        ("application/x-ndjson", line * (MIB // len(line))),
        ("application/json", b'{"message":"m","fields":{"a":[%b[]]}}' % (b"[]," * ((MIB - 50) // 3))),
        ("application/json", b"[%b0]" % (b"0," * ((MIB - 10) // 2))),
    ]
    _post(port, token, [("/logs", kind, body) for kind, body in bodies])


def _looking_up(port: int, token: str) -> None:
    """Send bodies of 1 MiB to `POST /lookup` and `POST /jobs`: long ids, and those that take longest to parse."""
    ids = json.dumps([f"{number:01000}" for number in range(1000)]).encode()
    lists = b"[%b[]]" % (b"[]," * ((MIB - 50) // 3))
    deep = b"[%b[]]" % ((b"[" * 200 + b"]" * 200 + b",") * ((MIB - 50) // 401))
    bodies = [ids, *(b'{"jobs":["1"],"junk":%b}' % junk for junk in (lists, deep))]
    jobs = [("/jobs/http", "application/json", b'{"data":%b}' % junk) for junk in (lists, deep)]
    _post(port, token, [*(("/lookup", "application/json", body) for body in bodies), *jobs])


def _post(port: int, token: str, requests: Sequence[tuple[str, str, bytes]]) -> None:
    """Send requests again and again: the path, the content type and the body of each."""
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "192.0.2.9"}
    for path, kind, body in itertools.cycle(requests):
        with suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("POST", path, body, {**headers, "Content-Type": kind})
            connection.getresponse().read()
            connection.close()


ATTACKS: Final[dict[str, Callable[[int, str], None]]] = {
    "20,000 rooms": _rooms,
    "names of 500 kB": _names,
    "a flood of messages": _flood,
    "5,000 connections": _connections,
    "reconnecting": _reconnecting,
    "guessing tokens": _guessing,
    "POST /logs of 1 MiB": _posting,
    "POST /lookup and /jobs of 1 MiB": _looking_up,
}


@contextmanager
def attacking(name: str, port: int, token: str) -> Iterator[int]:
    """Let a hostile client run during the context. Yield its process id."""
    with _running(name, str(port), token) as pid:
        yield pid


@contextmanager
def taking(share: float) -> Iterator[None]:
    """Let a process take this share of a processor's time during the context, and do nothing."""
    with _running(str(share)):
        yield


@contextmanager
def _running(name: str, *arguments: str) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.bench.attacks", name, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"the attack {name!r} ended by itself")
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    os.nice(19)
    with suppress(OSError):  # otherwise its session counts as much as the bridge's
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")
    raise_file_limit()
    print("ready", flush=True)
    if len(sys.argv) == 2:
        busy(float(sys.argv[1]))
    ATTACKS[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
