"""Runs in a network namespace of its own: clients connect, the network goes away, and the server must notice this.

Prints `gone` when it has. Started with `python -m tests.support.cut_network`.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from tests.support import EVENTUALLY_SECONDS
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

    in_thread = anyio.to_thread.run_sync
    stream_ended = anyio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await stream(send)
            return
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        ended.set()

    async def stream(send: Any) -> None:
        """Send little to a client that sends nothing. The kernel alone would notice its end after a quarter of an
        hour.
        """
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b":\n", "more_body": True})
                await anyio.sleep(0.2)
        finally:
            stream_ended.set()

    async with echo_server(app=app, direct=False, ping_seconds=0.5, silence_seconds=2.0) as port:
        with await in_thread(Peer, port), await in_thread(partial(Peer, port, upgrade=False)):
            loopback(up=False)
            with anyio.fail_after(EVENTUALLY_SECONDS):
                await ended.wait()
                await stream_ended.wait()
    print("gone")


if __name__ == "__main__":
    anyio.run(main, backend="trio")
