"""Many WebSocket clients in one process. They use so little CPU that they are not what limits a measurement.

They count deliveries with `bytes.count`, and parse events only to measure times. They use the protocol jobws.v1, the
part of it that `opponent/plain.mjs` understands, or Socket.IO 4 (Engine.IO 4 over WebSocket).
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["jobws", "socketio", "plain", "board"]

# Every event that is counted contains this once.
MARK: Final = b'"returnvalue"'
_REQUEST: Final = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
)
_PATHS: Final[dict[Kind, str]] = {"jobws": "/ws", "socketio": "/socket.io/?EIO=4&transport=websocket", "plain": "/"}
# The last bytes that a server sends when a client connects.
_GREETINGS: Final[dict[Kind, bytes]] = {"jobws": b'"hello"', "socketio": b'40{"sid"', "plain": b"\r\n\r\n"}
_RECEIVE_BYTES: Final = 1 << 16


def masked(text: str) -> bytes:
    """Return a text frame as clients send it."""
    data = text.encode()
    if len(data) > 65535:
        raise ValueError("too long for these clients")
    key = b"\0\0\0\0"  # a mask of zeros is allowed, and needs no XOR
    if len(data) < 126:
        return bytes((0x81, 0x80 | len(data))) + key + data
    return bytes((0x81, 0x80 | 126)) + struct.pack("!H", len(data)) + key + data


def handshake(path: str, port: int, headers: str = "") -> bytes:
    """Return the request of a handshake. `headers` are further lines, each with its end."""
    return _REQUEST.format(path=path, port=port, headers=headers).encode()


class Clients:
    """Connected clients of one server."""

    def __init__(self, kind: Kind, port: int, path: str | None = None, headers: str = "") -> None:
        self.kind = kind
        self._headers = headers  # further lines of the handshake, each with its end
        self._path = path or _PATHS[kind]
        self.deliveries = 0
        self.measure = False
        self.awake = True
        # What came, and when. It is parsed later, since parsing costs more than receiving.
        self._measured: list[tuple[float, bytes]] = []
        self._port = port
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._tails: dict[int, bytes] = {}
        self._acks = 0

    def connect(self, count: int, at_once: int = 100, receive_buffer: int | None = None) -> None:
        """Open `count` connections, `at_once` at a time, and wait until the server has greeted each client.

        `receive_buffer` is how many bytes the kernel holds for each client; None means the kernel's default.
        """
        opening: dict[int, bytes] = {}
        started = done = 0
        greeting = _GREETINGS[self.kind]
        while done < count:
            while started < count and len(opening) < at_once:
                sock = socket.socket()
                if receive_buffer is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                sock.connect(("127.0.0.1", self._port))
                sock.sendall(handshake(self._path, self._port, self._headers))
                sock.setblocking(False)
                self._sockets[sock.fileno()] = sock
                self._epoll.register(sock.fileno(), select.EPOLLIN)
                opening[sock.fileno()] = b""
                started += 1
            for fileno, _ in self._epoll.poll(10):
                if fileno not in opening:
                    self._sockets[fileno].recv(_RECEIVE_BYTES)
                    continue
                before = opening[fileno]
                opening[fileno] = now = before + self._sockets[fileno].recv(_RECEIVE_BYTES)
                if not now.startswith(b"HTTP/1.1 101"[: len(now)]):
                    raise RuntimeError(f"refused: {now!r}")
                if self.kind == "socketio" and b'0{"sid"' in now and b'0{"sid"' not in before:
                    self._sockets[fileno].sendall(masked("40"))
                if greeting in now:
                    del opening[fileno]
                    done += 1

    def subscribe(self, jobs: list[list[str]], after: str | None = None) -> None:
        """Subscribe the n-th client to the n-th list of jobs, and wait for all answers.

        `after` is the position in the queue `http` to which clients of jobws return. Other servers know no positions.
        """
        expected = 0
        for sock, ids in zip(self._sockets.values(), jobs, strict=False):
            if self.kind != "socketio":
                returning = after is not None and self.kind == "jobws"
                items = [{"jobId": each, "queue": "http", "after": {"http": after}} for each in ids]
                data = {"event": "subscribe-job", "data": items if returning else ids}
                sock.sendall(masked(json.dumps(data)))
                expected += 1
                continue
            for number, job_id in enumerate(ids):
                sock.sendall(masked(f'42{number}["subscribe-job",{json.dumps(job_id)}]'))
                expected += 1
            if expected >= 2000:
                self.await_acks(expected)
                expected = 0
        self.await_acks(expected)

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets, in the order in which they were connected."""
        return list(self._sockets.values())

    def say(self, message: bytes) -> None:
        """Send the same frame from each client."""
        for sock in self._sockets.values():
            sock.sendall(message)

    def await_acks(self, expected: int) -> None:
        """Wait for so many answers."""
        mark = b'[{"ok":true}]' if self.kind == "socketio" else b'"ack"'
        self._count(mark, expected, 60)

    def take(self, expected: int, seconds: float = 60) -> float:
        """Read until so many deliveries have come. Return how many seconds it took."""
        began = time.perf_counter()
        self._count(MARK, expected, seconds)
        return time.perf_counter() - began

    def _count(self, mark: bytes, expected: int, seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        keep = len(mark) - 1
        tails = self._tails
        # If times are measured, do not sleep. Waking up adds half a millisecond, and costs the server more than its
        # send. With clients on other machines it would not.
        seconds_asleep = 0 if self.measure and self.awake else 1
        while expected > 0:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{expected} of {mark!r} did not come within {seconds} s")
            ready = self._epoll.poll(seconds_asleep)
            if not ready:
                os.sched_yield()
            for fileno, _ in ready:
                data = self._sockets[fileno].recv(_RECEIVE_BYTES)
                if not data:
                    raise RuntimeError("the server ended a connection")
                if len(data) < 8 and b"\x81\x012" in data:  # a ping of Engine.IO
                    self._sockets[fileno].sendall(masked("3"))
                    continue
                if b"\x89\0" in data:  # a ping of WebSocket
                    self._sockets[fileno].sendall(b"\x8a\x80\0\0\0\0")
                whole = tails.pop(fileno, b"") + data
                expected -= whole.count(mark)
                if self.measure:
                    self._measured.append((time.monotonic(), whole))
                if not whole.endswith(b"}") and not whole.endswith(b"]"):
                    tails[fileno] = whole[-keep:]

    def latencies(self) -> list[float]:
        """Return, for each event since the last call, the seconds from its writing to its arrival, the shortest
        first.
        """
        measured, self._measured = self._measured, []
        found = []
        for now, data in measured:
            for part in data.split(b'"sent":')[1:]:
                found.append(now - float(part[: part.index(b"}")]))
        return sorted(found)

    @contextmanager
    def trickling(self, count: int, bytes_per_second: int = 1000) -> Iterator[None]:
        """Let each of the first `count` clients read so many bytes a second during the context, and the others
        nothing.
        """
        sockets = list(self._sockets.values())[:count]
        stop = threading.Event()

        def take() -> None:
            for sock in cycle(sockets):
                if stop.wait(1 / count):
                    return
                with suppress(BlockingIOError, ConnectionError):
                    sock.recv(bytes_per_second)

        trickle = threading.Thread(target=take)
        trickle.start()
        try:
            yield
        finally:
            stop.set()
            trickle.join()

    def drain(self, seconds: float, mark: bytes = MARK, pause_seconds: float = 0.0) -> int:
        """Read what comes for so many seconds, so that pings are answered. Return how often `mark` came.

        With `pause_seconds`, read only so often. In between, frames do not wake this process, for which the server pays
        more than for sending them: clients on other machines are not woken by it.
        """
        deadline = time.perf_counter() + seconds
        count = 0
        while (left := deadline - time.perf_counter()) > 0:
            time.sleep(min(pause_seconds, left))
            for fileno, _ in self._epoll.poll(max(0.0, deadline - time.perf_counter())):
                data = self._sockets[fileno].recv(_RECEIVE_BYTES)
                count += data.count(mark)
                if b"\x81\x012" in data:
                    self._sockets[fileno].sendall(masked("3"))
                if b"\x89\0" in data:
                    self._sockets[fileno].sendall(b"\x8a\x80\0\0\0\0")
        return count

    def close(self) -> None:
        """Close all connections."""
        self._epoll.close()
        for sock in self._sockets.values():
            sock.close()


def raise_file_limit() -> None:
    """Let this process open as many files as the system permits."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used in all threads, user and system."""
    # This is clock_getcpuclockid(3), which Python does not have. /proc/<pid>/stat counts in steps of 10 ms, a third of
    # some figures.
    return time.clock_gettime(~pid << 3 | 2)


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
