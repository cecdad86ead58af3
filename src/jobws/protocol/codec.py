"""Text to JSON and message to frame.

A frame is built once and shared by every connection that gets it. Job events are spliced from ready-made JSON, since
decoding and encoding a result again would cost more than all the rest of an event's way.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from jobws.errors import RequestError
from jobws.protocol.identifiers import type_name
from jobws.protocol.nesting import MAX_FRAME_LEVELS, MAX_LEVELS, TOO_DEEP, is_too_deep

if TYPE_CHECKING:
    from typing import TypeVar

    from jobws.protocol.log.answers import LogAnswer
    from jobws.protocol.messages import JobLogData, ServerMessage, Sub

    Shape = TypeVar("Shape")

_encode_json: Final = msgspec.json.Encoder().encode
_check_json: Final = msgspec.json.Decoder(msgspec.Raw).decode


_HEADER_16: Final = struct.Struct("!BBH").pack
_HEADER_64: Final = struct.Struct("!BBQ").pack


# A larger payload is not copied for each name that its frames carry.
SHARED_BYTES: Final = 16 * 1024


class Frame:
    """One outgoing message: its JSON text, and the same as a WebSocket frame.

    Args:
        head: The JSON text in UTF-8, or its beginning.
        tail: The rest of it, an object that frames may share; outboxes count it once.
    """

    __slots__ = ("_deflated", "_wire", "head", "tail")

    def __init__(self, head: bytes, tail: bytes = b"") -> None:
        self.head = head
        self.tail = tail
        self._wire: tuple[bytes | memoryview, ...] | None = None
        self._deflated: tuple[bytes | memoryview, ...] | None = None

    @property
    def payload(self) -> bytes:
        """The JSON text in UTF-8."""
        return self.head + self.tail if self.tail else self.head

    @property
    def wire(self) -> tuple[bytes | memoryview, ...]:
        """The whole WebSocket frame in pieces: final, text, not masked (RFC 6455 §5.2). Built once, then shared.

        Only the first piece of a frame is `bytes`, which tells where one begins.
        """
        if self._wire is None:
            begin = _header(0x81, len(self)) + self.head
            self._wire = (begin, memoryview(self.tail)) if self.tail else (begin,)
        return self._wire

    @property
    def deflated(self) -> tuple[bytes | memoryview, ...]:
        """The frame, compressed without a context (RFC 7692 §7.2.1) if that makes it smaller. It is built once."""
        if self._deflated is None:
            deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            smaller = (deflate.compress(self.payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
            self._deflated = (_header(0xC1, len(smaller)) + smaller,) if len(smaller) < len(self) else self.wire
        return self._deflated

    def __len__(self) -> int:
        return len(self.head) + len(self.tail)


def _header(first: int, size: int) -> bytes:
    """The header of a frame that is not masked, whose first byte is given (RFC 6455 §5.2)."""
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return _HEADER_16(first, 126, size)
    return _HEADER_64(first, 127, size)


def encode(message: ServerMessage | LogAnswer) -> Frame:
    """The frame of a message of `messages` or `log.answers`."""
    return Frame(_encode_json(message))


def encode_data(data: JobLogData) -> bytes:
    """The payload of a frame that `job_frame` makes."""
    return _encode_json(data)


def tail_of(data: bytes) -> bytes:
    """How each frame ends that has this payload, which is JSON in valid UTF-8."""
    return b',"data":%b}' % data


def job_frame(
    name: bytes, tail: bytes, *, position: bytes | None = None, sub: Sub | None = None, replayed: bool = False
) -> Frame:
    """The frame of a job event, or of a job's log lines.

    Args:
        name: The event's name as JSON, quotes included.
        tail: See `tail_of`.
        position: The `id`, for instance `b"1795435729358-0"`; None: it says nothing of a position.
        sub: The name of the subscription, if it has one.
        replayed: Whether it was read back.
    """
    head = b'{"event":%b' % name if position is None else b'{"event":%b,"id":"%b"' % (name, position)
    if sub is not None:
        head += b',"sub":%b' % (b"%d" % sub if isinstance(sub, int) else json_text(sub))
    if replayed:
        head += b',"replayed":true'
    return Frame(head, tail) if len(tail) > SHARED_BYTES else Frame(head + tail)


def json_text(text: str) -> bytes:
    """`text` as a JSON string in UTF-8. Lone surrogates become escapes, which are valid JSON but not valid UTF-8."""
    try:
        return _encode_json(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode()


def raw_json(value: bytes) -> bytes | None:
    r"""`value` if it is JSON that can be spliced into a frame as it is; else the same value encoded again.

    Returns None if it is no JSON in UTF-8, or nested deeper than MAX_LEVELS.
    msgspec refuses the valid `"\ud800"`; Python's parser takes it, and its value is encoded with ASCII escapes.
    """
    if is_too_deep(value):
        return None
    try:
        if not value.isascii():
            value.decode()
        _check_json(value)
    except UnicodeDecodeError:
        return None
    except msgspec.DecodeError:
        pass
    else:
        return value
    try:
        # As text: of bytes Python's parser takes UTF-16, too.
        return json.dumps(_lenient(value.decode())).encode()
    except ValueError:
        return None


def decode_json(text: str, subject: str = "expected one JSON object; this") -> object:
    """The JSON value of a client's message; `subject` begins the sentence if there is none.

    Raises:
        RequestError: `bad-json` or `too-deep`.
    """
    _check_levels(text, MAX_LEVELS)
    return _decoded(text, subject)


def _check_levels(text: str, levels: int) -> None:
    if is_too_deep(text, levels):
        raise RequestError("too-deep", TOO_DEEP)


def _decoded(text: str, subject: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        pass
    # Escaped lone surrogates are valid JSON (RFC 8259 §8.2), though msgspec refuses them: its sender deserves
    # to hear which value is wrong, not that the frame was no JSON.
    try:
        return _lenient(text)
    except ValueError as error:
        raise RequestError("bad-json", f"{subject} is no JSON ({error})") from None


def decode_list(text: str, subject: str, most: int, items: str) -> list[str]:
    """The items of a JSON list, each as its JSON text; `items` is what they are called. The list itself is no level.

    Raises:
        RequestError: `bad-json`, `too-deep`, `bad-data`: it is no list, or `too-many`: it has more than `most`.
    """
    _check_levels(text, MAX_LEVELS + 1)
    values: object
    try:
        values = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeEncodeError):
        values = _decoded(text, subject)
    if not isinstance(values, list):
        raise RequestError("bad-data", f"{subject} must be a list, not {type_name(values)}")
    if len(values) > most:  # first: a megabyte of `0,` has half a million, whose texts take 0.1 s
        raise RequestError("too-many", f"{subject} may have {most} {items}, this one has {len(values)}")
    return [
        bytes(value).decode() if isinstance(value, msgspec.Raw) else json.dumps(value, ensure_ascii=False)
        for value in values
    ]


def _lenient(text: str) -> object:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def decode_as(text: str | bytes, shape: type[Shape]) -> Shape:
    """A message of the bridge as `shape`. It may hold what msgspec refuses, since results are spliced in as they are.

    Raises:
        msgspec.DecodeError: It is no JSON in UTF-8, is nested deeper than MAX_FRAME_LEVELS, or has another shape (then
            msgspec.ValidationError).
    """
    if is_too_deep(text, MAX_FRAME_LEVELS):
        raise msgspec.DecodeError(f"it is nested deeper than {MAX_FRAME_LEVELS} levels")
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        try:
            return msgspec.convert(json.loads(text if isinstance(text, str) else text.decode()), shape)
        except ValueError as error:
            raise msgspec.DecodeError(str(error)) from None


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
