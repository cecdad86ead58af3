"""Run in a network namespace of its own: a client connects, the network goes away, and the server must notice.

Prints `gone` once it has; `python -m tests.support.cut_network`.
"""

from __future__ import annotations

import fcntl
import socket
import struct

import anyio
import anyio.to_thread

from tests.support.echo import echo_server
from tests.support.peer import Peer

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def loopback(*, up: bool) -> None:
    """Switch the namespace's only interface on or off, as `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack("16xH14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))
        flags = flags | IFF_UP if up else flags & ~IFF_UP
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))


async def main() -> None:
    loopback(up=True)
    ended = anyio.Event()

    async def app(_scope: object, receive: object, send: object) -> None:
        await receive()  # type: ignore[operator]
        await send({"type": "websocket.accept"})  # type: ignore[operator]
        assert (await receive())["type"] == "websocket.disconnect"  # type: ignore[operator]
        ended.set()

    async with echo_server(app=app, direct=False, ping_seconds=0.5, silence_seconds=2.0) as port:
        with await anyio.to_thread.run_sync(Peer, port):
            loopback(up=False)
            with anyio.fail_after(2 + 3):
                await ended.wait()
    print("gone")


if __name__ == "__main__":
    anyio.run(main, backend="trio")
