"""Reads messages, pings and close frames from a client's bytes, with wsproto, and limits their sizes. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

if TYPE_CHECKING:
    from wsproto.extensions import Extension
    from wsproto.frame_protocol import Frame

# Compressed data can grow a thousandfold, so the length of a message is checked after this many compressed bytes.
INFLATE_BYTES: Final = 512
# A smaller fragment costs as much CPU as a message, and so does a control frame.
TINY_BYTES: Final = 32


class FrameReader:
    """The receiving side of one connection.

    Args:
        extensions: The extensions that were negotiated.
        max_message_bytes: A larger message ends the connection. At most this many bytes of a message are kept.

    Attributes:
        pings: The payloads of the pings in the last `feed`, in order; they must be answered. None if there were none.
        idle_frames: How many frames were pings, pongs or tiny fragments since the last message, or since the caller has
            set this to 0.
        peer_code: The code of the client's close frame: 1005 if the frame has no code, and 0 while none has come.
        end: The code and reason with which to close the connection. None while it is not to be closed. Nothing is read
            once this is set.
    """

    __slots__ = ("_frames", "_length", "_max_message_bytes", "_parts", "end", "idle_frames", "peer_code", "pings")

    def __init__(self, extensions: list[Extension], max_message_bytes: int) -> None:
        self._frames = FrameProtocol(client=False, extensions=extensions)
        self._max_message_bytes = max_message_bytes
        self._parts: list[str | bytes] | None = None
        self._length = 0
        self.pings: list[bytes] | None = None
        self.idle_frames = 0
        self.peer_code = 0
        self.end: tuple[int, str] | None = None

    @property
    def deflates(self) -> bool:
        """Whether compression was negotiated."""
        return bool(self._frames.extensions)

    def feed(self, data: bytes) -> list[str | bytes]:
        """Read `data`, and return the messages that it completes."""
        found: list[str | bytes] = []
        self.pings = None
        step = INFLATE_BYTES if self.deflates else max(len(data), 1)
        for start in range(0, len(data), step):
            if self.end is not None:
                break
            try:
                self._frames.receive_bytes(data[start : start + step])
                for frame in self._frames.received_frames():
                    self._take(frame, found)
            except ParseFailed as error:
                # It is no longer known where the next frame begins.
                self._parts = None
                self.end = int(error.code), str(error)
        return found

    def _take(self, frame: Frame, found: list[str | bytes]) -> None:
        payload: Any = frame.payload  # text, bytes, or a close frame's code and reason
        match frame.opcode:
            case Opcode.PING:
                self.idle_frames += 1
                if self.pings is None:
                    self.pings = []
                self.pings.append(bytes(payload))
            case Opcode.PONG:
                self.idle_frames += 1
            case Opcode.CLOSE:
                self.peer_code = int(payload[0])
                self.end = self.peer_code, ""
            case _:
                self._take_data(payload, found, finished=frame.message_finished)

    def _take_data(self, payload: str | bytes, found: list[str | bytes], *, finished: bool) -> None:
        self._length += len(payload)
        if self._length > self._max_message_bytes:
            reason = f"a message may have {self._max_message_bytes} bytes"
            raise ParseFailed(reason, CloseReason.MESSAGE_TOO_BIG)
        if not finished:
            self.idle_frames += len(payload) < TINY_BYTES
            self._parts = self._parts or []
            if payload:
                self._parts.append(payload)
            return
        if self._parts:
            joint: Any = "" if isinstance(payload, str) else b""
            payload = joint.join([*self._parts, payload])
        self._parts = None
        self._length = self.idle_frames = 0
        found.append(payload)
