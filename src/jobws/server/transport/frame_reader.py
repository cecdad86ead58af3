"""What a client's bytes say: its messages, and what to answer. No I/O; wsproto reads frames, the bounds are ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

if TYPE_CHECKING:
    from wsproto.extensions import Extension
    from wsproto.frame_protocol import Frame

# Compressed data can grow a thousandfold: so much of it is inflated before the message's length is looked at again.
INFLATE_BYTES: Final = 512
# Smaller fragments, and control frames, cost as much as a message.
TINY_BYTES: Final = 32


class FrameReader:
    """The receiving side of one connection.

    Args:
        extensions: What was negotiated.
        max_message_bytes: A larger message ends the connection; no more than this is kept of one.

    Attributes:
        pings: Payloads of the pings of the last `feed`, to be answered in order.
        idle_frames: How many of its frames were control frames or tiny fragments.
        peer_code: The code of the client's close frame; 0: none came.
        end: The code and reason with which to close, once there is one: nothing is read after that.
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
        """The messages that are complete with `data`."""
        found: list[str | bytes] = []
        self.idle_frames = 0
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
                # Where the next frame begins is not known any more.
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
        self._length = 0
        found.append(payload)
