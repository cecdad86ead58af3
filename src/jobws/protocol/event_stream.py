"""Frames as server-sent events (WHATWG HTML, §9.2), and positions as their `id`s.

A frame's payload is the text that the WebSocket carries. It is cut where it was put together and never decoded, since
it may hold megabytes.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from jobws.errors import RequestError
from jobws.protocol.codec import decode_as
from jobws.protocol.identifiers import START, position
from jobws.protocol.messages import Cursor

if TYPE_CHECKING:
    from jobws.protocol.codec import Frame

# A client sends it back in the head of a request, which may have 16 KiB.
MAX_POSITION_BYTES: Final = 8 * 1024
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_LINE_ENDS_IN_NAME: Final = re.compile(r"[\r\n]+")
_QUEUE: Final = '{"queue":'


class Parts(NamedTuple):
    """What a frame holds. `stream_id` is None where it has no `id`; `data` is JSON text in UTF-8."""

    event: str
    stream_id: str | None
    data: bytes

    @property
    def queue(self) -> str:
        """The label of a job event's queue, the first key of its data."""
        label, _ = json.JSONDecoder().raw_decode(self.data.decode(), len(_QUEUE))
        return str(label)


class _Head(msgspec.Struct):
    event: str
    id: str | None = None


class _HasCursor(msgspec.Struct):
    cursor: Cursor = {}


def parts_of(frame: Frame) -> Parts:
    """The parts of a server's frame, whose last key is `data`."""
    # Within a string its quotes would be escaped, so the first match is the key.
    head, _, rest = frame.payload.partition(b',"data":')
    known = msgspec.json.decode(head + b"}", type=_Head)
    return Parts(known.event, known.id, rest[:-1])


def encode_position(cursor: Cursor) -> str:
    """A cursor as base64url of its JSON, without padding."""
    return urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def decode_position(text: str) -> dict[str, object]:
    """The cursor object that `encode_position` was given; its stream ids are not checked.

    Raises:
        RequestError: `bad-after`: it was not made by `encode_position`.
    """
    try:
        cursor = decode_as(urlsafe_b64decode(text + "=" * (-len(text) % 4)), dict[str, object])
    except (ValueError, msgspec.DecodeError):
        raise RequestError("bad-after", "`Last-Event-ID` must be the `id` of an event of this stream") from None
    return cursor


def frame_block(frame: Frame) -> bytes:
    """The event that carries a whole frame, unchanged but for its line breaks."""
    return _lines(frame.payload) + b"\n"


def close_block(code: int, reason: str) -> bytes:
    """The event that stands for a WebSocket's close frame: the last one."""
    return b"event: close\n%b\n" % _lines(msgspec.json.encode({"code": code, "reason": reason}))


def _lines(data: bytes) -> bytes:
    """`data`, JSON text, as `data:` lines. A worker's JSON may be set in lines; a client joins them again."""
    return b"data: %b\n" % _LINE_END.sub(b"\ndata: ", data)


class EventStreamWriter:
    """Frames of one subscription, one after the other, to the bytes of its stream.

    Args:
        queue: The label that the subscription names; None: all queues count.

    Attributes:
        cursor: Where the client may resume; None until the subscription was answered.
        doubtful: The queues of which a gap was told, until a `pong` has their position again.
    """

    def __init__(self, queue: str | None) -> None:
        self.cursor: Cursor | None = None
        self.doubtful: set[str] = set()
        # The highest id of an event, by queue. A `pong` may lag behind it.
        self._told: Cursor = {}
        self._queue = queue

    def block(self, frame: Frame, *, live: bool) -> bytes:
        """The event that a frame becomes. A `pong` becomes its position alone, which tells a browser's page nothing.

        Args:
            frame: An `ack`, `error`, `gap` or `pong`, or a job event.
            live: Whether all of the subscription's jobs are. Until then events of one job overtake those of another,
                so no event says how far its queue was told.
        """
        parts = parts_of(frame)
        match parts.event:
            case "ack":
                self.cursor = self._of(parts)
                moved = True
            case "pong":
                if self.cursor is None:
                    return b":\n"
                self._vouch(self._of(parts), live=live)
                return b":\n%b\n" % self._position()
            case "gap":
                moved = self._doubt(self._of(parts))
            case _:
                moved = parts.stream_id is not None and self._move(parts.queue, parts.stream_id, live=live)
        name = _LINE_ENDS_IN_NAME.sub(" ", parts.event).encode()
        return b"event: %b\n%b%b\n" % (name, self._position() if moved else b"", _lines(parts.data))

    def _of(self, parts: Parts) -> Cursor:
        cursor = decode_as(parts.data, _HasCursor).cursor
        return {queue: end for queue, end in cursor.items() if self._queue in (None, queue)}

    def _vouch(self, cursor: Cursor, *, live: bool) -> None:
        """Everything up to `cursor` was told; of a queue that it lacks nobody knows."""
        told = self._told if live else {}
        self.cursor = {queue: max(end, told.get(queue, START), key=position) for queue, end in cursor.items()}
        self.doubtful.difference_update(cursor)

    def _doubt(self, cursor: Cursor) -> bool:
        """Of these queues, outcomes may be missing that are still to be told: until then none has a position."""
        self.doubtful.update(cursor)
        self._told = {queue: end for queue, end in self._told.items() if queue not in cursor}
        if self.cursor is None:
            return False
        self.cursor = {queue: end for queue, end in self.cursor.items() if queue not in cursor}
        return True

    def _move(self, queue: str, stream_id: str, *, live: bool) -> bool:
        if self.cursor is None or queue in self.doubtful:
            return False
        self._told[queue] = max(stream_id, self._told.get(queue, START), key=position)
        if live:
            self.cursor[queue] = self._told[queue]
        return live

    def _position(self) -> bytes:
        encoded = encode_position(self.cursor or {})
        return b"id: %b\n" % encoded.encode() if len(encoded) <= MAX_POSITION_BYTES else b""
