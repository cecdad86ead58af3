"""Writes whole frames, in order, to a non-blocking socket. Keeps what the socket does not take yet.

A frame has one piece or two: `bytes`, which may be followed by a `memoryview` that several clients' frames share.
"""

from __future__ import annotations

from collections import deque
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Pieces are joined up to this size for one send. A larger piece is sent alone.
_JOIN_BYTES: Final = 128 * 1024


class SendBuffer:
    """The frames that wait for a socket. Its methods never wait; call `resume` when the socket is writable again.

    Args:
        send: The `send` of a non-blocking socket. It returns how many bytes it took. It raises BlockingIOError if it
            can take none now, and another OSError if the peer is gone.
        send_pieces: The `sendmsg` of the same socket, which sends several pieces without joining them.

    Attributes:
        accepted: How many bytes the socket has taken.
        broken: Whether the peer is gone. Then all frames are dropped, waiting and new ones.
        waiting: How many bytes wait for the socket.
    """

    __slots__ = ("_frames", "_send", "_send_pieces", "accepted", "broken", "waiting")

    def __init__(
        self,
        send: Callable[[bytes | memoryview], int],
        send_pieces: Callable[[Sequence[bytes | memoryview]], int],
    ) -> None:
        self._send = send
        self._send_pieces = send_pieces
        # None while nothing waits, which is nearly always the case. An empty deque would need 760 bytes.
        self._frames: deque[bytes | memoryview] | None = None
        self.accepted = 0
        self.waiting = 0
        self.broken = False

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Send whole frames as far as the socket takes them now, and keep the rest.

        If earlier frames still wait, the new ones are kept after these. Returns whether all bytes have left; False if
        the buffer is `broken`.
        """
        if self._frames is None and not self.broken:
            data: bytes | memoryview
            if len(frames) == 2 and type(frames[1]) is memoryview:
                return self._write_pieces(frames)
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            try:  # the code of `_try`, inlined since it runs for every delivery
                sent = self._send(data)
                self.accepted += sent
            except OSError as error:
                sent = self._refused(error)
            if sent == len(data):
                return True
            self._keep(frames, len(data), sent)
            return False
        if not self.broken and self._frames is not None:
            self._frames.extend(frames)
            self.waiting += sum(map(len, frames))
        return False

    def _write_pieces(self, frames: Sequence[bytes | memoryview]) -> bool:
        size = sum(map(len, frames))
        try:
            sent = self._send_pieces(frames)
            self.accepted += sent
        except OSError as error:
            sent = self._refused(error)
        if sent < size:
            self._keep(frames, size, sent)
        return sent == size

    def resume(self) -> bool:
        """Send waiting bytes until the socket takes no more.

        Returns whether all bytes have left; False if the buffer is `broken`.
        """
        while self._frames:
            data = self._next()
            sent = self._try(data)
            self._advance(sent)
            if sent < len(data):
                return False
        return not self.broken

    def drop(self) -> None:
        """Drop the waiting frames, except the rest of a frame that has begun to leave."""
        if self._frames is not None:
            # A whole frame begins with `bytes`. So memoryviews here are the rest of a frame that has begun to leave.
            begun = list(takewhile(lambda piece: type(piece) is memoryview, islice(self._frames, 2)))
            self._frames = deque(begun) if begun else None
            self.waiting = sum(map(len, begun))

    def _keep(self, frames: Sequence[bytes | memoryview], size: int, sent: int) -> None:
        """Keep `frames`, which have `size` bytes together, except the first `sent` bytes, which have left."""
        if not self.broken:
            self._frames = deque(frames)
            self.waiting = size
            self._advance(sent)

    def _next(self) -> bytes | memoryview:
        frames = self._frames or deque()
        size, count = 0, 0
        for frame in frames:
            if count and size + len(frame) > _JOIN_BYTES:
                break
            size += len(frame)
            count += 1
        if count == 1:
            return frames[0]
        return b"".join([frames[position] for position in range(count)])

    def _advance(self, sent: int) -> None:
        """Remove the first `sent` bytes, which have left."""
        frames = self._frames
        if frames is None:
            return
        self.waiting -= sent
        while frames and sent >= len(frames[0]):
            sent -= len(frames.popleft())
        if sent:
            frames[0] = memoryview(frames[0])[sent:]
        if not frames:
            self._frames = None

    def _try(self, data: bytes | memoryview) -> int:
        try:
            sent = self._send(data)
        except OSError as error:
            return self._refused(error)
        self.accepted += sent
        return sent

    def _refused(self, error: OSError) -> int:
        """Handle an `error` of the socket: mark the buffer as broken if the peer is gone. Return 0, the bytes sent."""
        if not isinstance(error, BlockingIOError):
            self.broken = True
            self._frames = None
            self.waiting = 0
        return 0
