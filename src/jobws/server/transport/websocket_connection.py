"""Serves one WebSocket on a plain socket: reads messages, writes frames, pings, and closes silent or slow clients.

One task reads. A second task exists only while bytes wait to be written, so an idle connection has one small task.
"""

from __future__ import annotations

import logging
import random
import socket
import struct
from typing import TYPE_CHECKING, Final

import trio
from wsproto.frame_protocol import CloseReason, FrameProtocol

from jobws.server.transport.frame_reader import FrameReader
from jobws.server.transport.send_buffer import SendBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wsproto.extensions import Extension

    from jobws.server.fair_turns import FairTurns
    from jobws.server.settings import Settings
    from jobws.server.transport.direct import Handler

RECEIVE_BYTES: Final = 16 * 1024
PIECE_BYTES: Final = 1024  # parsed in one step, of up to 1 ms if all frames have the smallest size
# How long a client may take to answer a close frame, and to take the frames before it.
CLOSE_SECONDS: Final = 5.0
# Control frames and tiny fragments cost as much CPU as messages. If more of them come in one turn, reading pauses.
FREE_FRAMES: Final = 32
# All connections share this object, since control frames do not depend on the state of a connection.
_CONTROL: Final = FrameProtocol(client=False, extensions=[])
_RESET: Final = struct.pack("ii", 1, 0)

_log: Final = logging.getLogger(__name__)


class WebSocketConnection:
    """The transport's side of one connection. It implements `direct.Direct`.

    Args:
        sock: A connected, non-blocking socket. The connection closes it.
        settings: The limits.
        spawn: Starts a task, which is cancelled at the end of the server.
        turns: The turns in which the messages of all clients are taken.

    Attributes:
        deflate: Whether compressed frames may be sent. See `Direct.deflate`.
    """

    __slots__ = (
        *("_buffer", "_closed_at", "_ended", "_handler", "_heard_at", "_mark", "_pinged_at"),
        *("_pong", "_reader", "_settings", "_sock", "_spawn", "_turns", "_written", "deflate"),
    )

    def __init__(self, sock: socket.socket, settings: Settings, spawn: Callable[..., None], turns: FairTurns) -> None:
        self._sock = sock
        self._turns = turns
        self._settings = settings
        self._spawn = spawn
        self._reader: FrameReader | None = None  # until the handshake is answered
        self._handler: Handler | None = None
        # Set when no bytes wait to be written any more. None while no bytes wait.
        self._written: trio.Event | None = None
        self._pong: bytes | None = None
        self._ended = False
        self._closed_at: float | None = None
        # While bytes wait: the beginning of the present `slow_seconds`, and how many bytes the client had taken then.
        self._mark: tuple[float, int] | None = None
        self._heard_at = trio.current_time()
        # Up to half an interval early, at random, so that clients that connected together are not pinged together.
        self._pinged_at = self._heard_at - random.uniform(0, settings.ping_seconds / 2)  # noqa: S311 - not a secret
        self.deflate = False
        self._buffer = SendBuffer(sock.send, sock.sendmsg)

    def open(self, extensions: list[Extension]) -> None:
        """Read frames from now on: the handshake was answered, and negotiated `extensions`."""
        self._reader = FrameReader(extensions, self._settings.max_message_bytes)
        self.deflate = self._reader.deflates

    def shut(self) -> None:
        """Write nothing more, since the handshake was refused."""
        self._closed_at = trio.current_time()

    @property
    def peer_code(self) -> int:
        """The code of the client's close frame: 1005 if the frame has no code, and 1006 if no such frame has come."""
        return (self._reader.peer_code if self._reader is not None else 0) or 1006

    # ---- Direct ----

    @property
    def attached(self) -> bool:
        """Whether a handler has taken the connection over."""
        return self._handler is not None

    @property
    def closing(self) -> bool:
        """Whether a close frame was written, or the connection was refused or has ended."""
        return self._closed_at is not None or self._ended

    def attach(self, handler: Handler) -> None:
        """Have `handler` called when something happens to the connection. See `Direct.attach`."""
        self._handler = handler

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Send whole frames. See `Direct.write`."""
        if self._closed_at is not None or self._ended:  # `closing`, inlined, since every delivery needs it
            return False
        if self._buffer.write(frames):
            return True
        self._drain()
        return False

    def close(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Send a close frame, after the frames that wait, or with `drop` instead of them. See `Direct.close`."""
        if self.closing:
            return
        self._closed_at = trio.current_time()
        if drop:
            self._buffer.drop()
        if self._reader is not None and not self._buffer.write([bytes(_CONTROL.close(code, reason or None))]):
            self._drain()

    def _drain(self) -> None:
        if self._written is None and self._buffer.waiting:
            self._written = trio.Event()
            self._spawn(self._write_on, self._written)

    async def _write_on(self, written: trio.Event) -> None:
        """Send the waiting bytes, then set `written`. Call `Handler.writable` if more frames can be sent."""
        try:
            while not self._buffer.resume() and self._buffer.waiting:
                await trio.lowlevel.wait_writable(self._sock)
        except (OSError, trio.ClosedResourceError):
            return
        finally:
            self._written = None
            written.set()
        if self.closing or self._buffer.broken:
            return
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self.write([pong])
        if self._handler is not None and not self._buffer.waiting:
            self._handler.writable()

    async def flush(self, seconds: float) -> bool:
        """Wait until all bytes have left, for `seconds` at most. Return whether they have."""
        with trio.move_on_after(seconds):
            while self._written is not None:
                await self._written.wait()
        return not (self._buffer.waiting or self._ended or self._buffer.broken)

    async def run(self, data: bytes) -> None:
        """Call the handler with each message until the connection ends. `data` was received after the handshake."""
        try:
            while True:
                for message in await self.messages(data):
                    await self._turns.pause()
                    if self._handler is not None and not self.closing:
                        with self._turns:
                            wait = self._handler.received(message)
                        if wait:
                            await trio.sleep(wait if isinstance(wait, float) else await wait)
                data = await self.receive()
                if not data:
                    return
        except (OSError, trio.ClosedResourceError):
            return
        except Exception:  # noqa: BLE001 - an error of a handler ends only its own connection
            _log.exception("a connection failed")
            self.close(CloseReason.INTERNAL_ERROR, "the server failed to serve this connection")
        finally:
            self._lose()

    def _lose(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.lost()

    async def receive(self) -> bytes:
        """Wait for bytes of the client, and return them.

        Return b"" if the client has sent its close frame or the end of its data (FIN), or if the socket was closed
        before the wait. Raises OSError if the connection breaks, and trio.ClosedResourceError if the socket is closed
        during the wait.
        """
        reader = self._reader
        if reader is not None and reader.idle_frames > FREE_FRAMES:
            await trio.sleep(reader.idle_frames / self._settings.frames_per_second)
            reader.idle_frames = 0
        while (reader is None or not reader.peer_code) and not self._ended:  # it may have ended during the pause
            await trio.lowlevel.wait_readable(self._sock)
            try:
                data = self._sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            self._heard_at = trio.current_time()
            return data
        return b""

    async def messages(self, data: bytes) -> list[str | bytes]:
        """Read `data` in short steps, and return the messages that it completes. Answer pings and a close frame.

        After the client's close frame there are no messages. If `closing` is true after the call, the connection ends,
        and the caller drops all of them.
        """
        found: list[str | bytes] = []
        for start in range(0, len(data), PIECE_BYTES):
            await self._turns.pause()
            with self._turns:
                found += self._read(data[start : start + PIECE_BYTES])
        return found

    def _read(self, data: bytes) -> list[str | bytes]:
        reader = self._reader
        if reader is None:
            return []
        found = reader.feed(data)
        for payload in reader.pings or ():
            self._answer_ping(payload)
        if reader.end is not None:
            self.close(*reader.end)
        return found

    def _answer_ping(self, payload: bytes) -> None:
        if self.closing:
            return
        pong = bytes(_CONTROL.pong(payload))
        if self._buffer.waiting:
            self._pong = pong  # the last pong is enough (RFC 6455 §5.5.3), so only one waits
        else:
            self.write([pong])

    # ---- the end ----

    def tick(self, now: float) -> None:
        """Do what is due at `now`, in seconds of trio's clock: send a ping, or end a silent, slow or closing client."""
        settings = self._settings
        if self._ended:
            return
        if self._closed_at is not None:
            if now - self._closed_at >= CLOSE_SECONDS:
                self.cut()
            return
        if now - self._heard_at >= settings.silence_seconds:
            self.cut()
            return
        if now - self._pinged_at >= settings.ping_seconds:
            self._pinged_at = now
            if self._reader is not None and not self._buffer.waiting:
                self.write([bytes(_CONTROL.ping())])
        if not self._buffer.waiting:
            self._mark = None
        elif self._mark is None:
            self._mark = (now, self._buffer.accepted)
        elif now - self._mark[0] >= settings.slow_seconds:
            rate = (self._buffer.accepted - self._mark[1]) / (now - self._mark[0])
            self._mark = (now, self._buffer.accepted)
            if rate < settings.slow_bytes_per_second and self._handler is not None:
                self._handler.stalled()

    async def finish(self) -> None:
        """Close the socket.

        If a close frame was written, or the handshake was refused, first wait until all bytes have left and the client
        has ended the TCP connection, too, but no longer than 5 s.
        """
        try:
            with trio.move_on_after(CLOSE_SECONDS):
                if self.closing and not self._ended and not self._buffer.broken:
                    await self.flush(CLOSE_SECONDS)
                    self._sock.shutdown(socket.SHUT_WR)
                    # Closing a socket with unread data sends a reset, after which the client may lose the last frames.
                    self._reader = None
                    while await self.receive():
                        pass
        except (OSError, trio.ClosedResourceError):
            pass
        finally:
            self.cut()

    def cut(self) -> None:
        """Close the socket now, with a reset if bytes wait, and call `Handler.lost`. Further calls do nothing."""
        if self._ended:
            return
        self._ended = True
        if self._buffer.waiting:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
        self._lose()
