"""A WebSocket client on a blocking socket. It can misbehave, which client libraries do not."""

from __future__ import annotations

import socket
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


class Peer:
    """A connection after its handshake. `answer` is the server's answer to the handshake, as text."""

    def __init__(
        self,
        url_or_port: str | int,
        path: str = "/ws",
        extensions: str = "",
        *,
        upgrade: bool = True,
        receive_bytes: int | None = 16 * 1024,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        port = url_or_port if isinstance(url_or_port, int) else urlsplit(url_or_port).port
        self.socket = socket.socket()
        # A small window, so that the kernel holds little for a client that does not read.
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", port))
        if not upgrade:
            self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            self.answer = self.socket.recv(100).decode()
            return
        offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        offer += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.socket.recv(1)
        self.answer = answer.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, payload: bytes, opcode: int = 0x81) -> None:
        size = len(payload)
        length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + struct.pack("!H", size)
        self.socket.sendall(bytes((opcode,)) + length + bytes(4) + payload)

    def frame(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame."""
        first, second = self._exactly(2)
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self._exactly(2))
        elif second == 127:
            (size,) = struct.unpack("!Q", self._exactly(8))
        return first & 15, self._exactly(size)

    def close_code(self) -> int:
        """Return the code of the close frame, which is not answered. Drop the frames before it."""
        while True:
            opcode, payload = self.frame()
            if opcode == 8:
                (code,) = struct.unpack("!H", payload[:2])
                return int(code)

    def gone(self) -> bool:
        """Drop what the server sends until it ends the connection, then return True."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            return True
        return True

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError(f"the connection ended within a frame, after {data!r}")
            data += more
        return data
