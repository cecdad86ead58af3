"""Converts between text, JSON and frames.

A frame is built once, and all connections to which it is sent share it. Frames of job events are joined from existing
JSON: decoding and encoding a result again would take longer than everything else that is done for an event.
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
from jobws.protocol.nesting import MAX_FRAME_LEVELS, MAX_LEVELS, check_levels, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from jobws.protocol.log.answers import LogAnswer
    from jobws.protocol.messages import JobLogData, ServerMessage, Sub

    Shape = TypeVar("Shape")

encode_json: Final = msgspec.json.Encoder().encode
"""Returns a value as JSON in UTF-8. Raises UnicodeEncodeError for text with lone surrogates."""
_check_json: Final = msgspec.json.Decoder(msgspec.Raw).decode

# If msgspec refuses a list, Python's parser reads it, unless it has more characters than this.
LENIENT_CHARACTERS: Final = 64 * 1024
# Each comma may begin an item, and a megabyte of `0,` takes 20 ms. A megabyte of log records has up to 50,000 commas.
MAX_COMMAS: Final = 100_000

_HEADER_16: Final = struct.Struct("!BBH").pack
_HEADER_64: Final = struct.Struct("!BBQ").pack

# A larger payload is not copied into each of its frames, which may have different heads.
SHARED_BYTES: Final = 16 * 1024


class Frame(msgspec.Struct, eq=False, gc=False):
    """One outgoing message, as JSON text and as a WebSocket frame.

    Args:
        head: The JSON text in UTF-8, or its beginning.
        tail: The rest of the text. Several frames may share this object, and outboxes count its size once.
    """

    head: bytes
    tail: bytes = b""
    _wire: tuple[bytes | memoryview, ...] | None = None
    _deflated: tuple[bytes | memoryview, ...] | None = None

    @property
    def payload(self) -> bytes:
        """The JSON text in UTF-8."""
        return self.head + self.tail if self.tail else self.head

    @property
    def wire(self) -> tuple[bytes | memoryview, ...]:
        """The whole WebSocket frame, in one or two pieces. Built once, then shared.

        It is a text frame that is final and not masked (RFC 6455 §5.2). Only the first piece is `bytes`, so the type
        of a piece shows whether a frame begins with it.
        """
        if self._wire is None:
            begin = _header(0x81, len(self.head) + len(self.tail)) + self.head
            self._wire = (begin, memoryview(self.tail)) if self.tail else (begin,)
        return self._wire

    @property
    def deflated(self) -> tuple[bytes | memoryview, ...]:
        """The WebSocket frame, compressed without a context (RFC 7692 §7.2.1) if this makes it smaller. Built once."""
        if self._deflated is None:
            deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            smaller = (deflate.compress(self.payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
            self._deflated = (_header(0xC1, len(smaller)) + smaller,) if len(smaller) < len(self) else self.wire
        return self._deflated

    def __len__(self) -> int:
        return len(self.head) + len(self.tail)


def _header(first: int, size: int) -> bytes:
    """Return the header of an unmasked frame with this first byte (RFC 6455 §5.2)."""
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return _HEADER_16(first, 126, size)
    return _HEADER_64(first, 127, size)


def encode(message: ServerMessage | LogAnswer) -> Frame:
    """Return the frame of a message of `messages` or `log.answers`."""
    return Frame(encode_json(message))


def encode_data(data: JobLogData) -> bytes:
    """Return the `data` of a frame `job-log` as JSON, from which `tail_of` makes the end of the frame."""
    return encode_json(data)


def tail_of(data: bytes) -> bytes:
    """Return the end of a frame, from the key `data` on. The argument is the key's value, JSON in valid UTF-8."""
    return b',"data":%b}' % data


def parent_of(queue: str, job_id: str) -> bytes:
    """Return the part of a frame that names this job as the one above the frame's job in a flow, for `job_frame`."""
    return b',"parent":{"queue":%b,"jobId":%b}' % (json_text(queue), json_text(job_id))


def job_frame(
    name: bytes,
    tail: bytes,
    *,
    position: bytes | None = None,
    sub: Sub | None = None,
    parent: bytes = b"",
    replayed: bool = False,
) -> Frame:
    """Return the frame of a job event, or of log lines of a job.

    Args:
        name: The event's name as JSON, with its quotes.
        tail: The end of the frame, made by `tail_of`.
        position: The `id`, for instance `b"1795435729358-0"`. None means that the frame has no `id`.
        sub: The name of the subscription; None if it has none.
        parent: What `parent_of` returns, if the frame is about a job below that which the client asked for.
        replayed: Whether the event is of the past and was read from Redis.
    """
    head = b'{"event":%b' % name if position is None else b'{"event":%b,"id":"%b"' % (name, position)
    if sub is not None:
        head += b',"sub":%b' % (b"%d" % sub if isinstance(sub, int) else json_text(sub))
    if parent:
        head += parent
    if replayed:
        head += b',"replayed":true'
    return Frame(head, tail) if len(tail) > SHARED_BYTES else Frame(head + tail)


def json_text(text: str) -> bytes:
    """Return `text` as a JSON string in UTF-8. Lone surrogates become escapes, since they are not valid in UTF-8."""
    try:
        return encode_json(text)
    except UnicodeEncodeError:
        return json.dumps(text).encode()


def raw_json(value: bytes) -> bytes | None:
    r"""Return JSON with the same value as `value` that can be copied into a frame; if possible, `value` itself.

    Returns None if `value` is not JSON in UTF-8, or is nested deeper than MAX_LEVELS. msgspec refuses `"\ud800"`, which
    is valid JSON. Python's parser accepts it, and the value is then encoded with ASCII escapes.
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
        # Decoded first, since Python's parser would also accept bytes in UTF-16.
        return json.dumps(_lenient(value.decode())).encode()
    except ValueError:
        return None


def decode_json(text: str, subject: str = "expected one JSON object; this") -> object:
    """Return the JSON value of a client's message. `subject` begins the sentence of the error `bad-json`.

    Raises:
        RequestError: `bad-json` or `too-deep`.
    """
    check_levels(text)
    return decode_checked(text, subject)


def decode_part(text: bytes, subject: str) -> object:
    """Return the value of a part of a client's JSON, as `decode_json` does. Large lists and objects are not decoded.

    A part of more than LENIENT_CHARACTERS bytes that is no string becomes an empty list or object.
    """
    if len(text) > LENIENT_CHARACTERS and not text.startswith(b'"'):
        return [] if text.startswith(b"[") else {}
    return decode_json(text.decode(), subject)


def decode_checked(text: str, subject: str = "expected one JSON object; this") -> object:
    """Return the JSON value of a text whose nesting was checked. `subject` begins the sentence of the error `bad-json`.

    Raises:
        RequestError: `bad-json`.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        pass
    # Escaped lone surrogates are valid JSON (RFC 8259 §8.2), though msgspec refuses them. The client learns which value
    # is wrong, instead of that its message is not JSON.
    try:
        return _lenient(text)
    except ValueError as error:
        raise RequestError("bad-json", f"{subject} is no JSON ({error})") from None


def bad_json(text: str, subject: str, error: msgspec.DecodeError) -> RequestError:
    """Return the error for a text that msgspec refuses and that is too long for Python's parser (20 ms a megabyte)."""
    surrogates = f"lone surrogates are read in up to {LENIENT_CHARACTERS} characters, this has {len(text)}"
    return RequestError("bad-json", f"{subject} is no JSON ({error}); {surrogates}")


def decode_list(text: str, subject: str, most: int, items: str) -> Iterator[str]:
    """Return the items of a JSON list, each as its JSON text. The list itself does not count as a level of nesting.

    Args:
        text: The JSON text.
        subject: What the list is called at the beginning of an error message.
        most: How many items the list may have.
        items: What the items are called in an error message.

    Raises:
        RequestError: `bad-json`, `too-deep`, `bad-data` for another value than a list, or `too-many`. The call raises
            it. Iterating over the result raises nothing.
    """
    commas = text.count(",")
    if commas > MAX_COMMAS:
        raise RequestError("too-many", f"{subject} may have {MAX_COMMAS} commas, this one has {commas}")
    check_levels(text, MAX_LEVELS + 1)
    values: object
    try:
        values = msgspec.json.decode(text, type=list[msgspec.Raw])
    except msgspec.ValidationError:
        values = decode_checked(text, subject)
    except msgspec.DecodeError as error:
        if len(text) > LENIENT_CHARACTERS:
            raise bad_json(text, subject, error) from None
        values = decode_checked(text, subject)
    if not isinstance(values, list):
        raise RequestError("bad-data", f"{subject} must be a list, not {type_name(values)}")
    if len(values) > most:
        raise RequestError("too-many", f"{subject} may have {most} {items}, this one has {len(values)}")
    # The texts are made when they are needed, since those of ten thousand items take 3 ms.
    return (
        bytes(value).decode() if isinstance(value, msgspec.Raw) else json.dumps(value, ensure_ascii=False)
        for value in values
    )


def _lenient(text: str) -> object:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def decode_as(text: str | bytes, shape: type[Shape]) -> Shape:
    """Return a message of the bridge, decoded as `shape`.

    Values of workers may contain escaped lone surrogates, and numbers too large for a float, which become infinity.

    Raises:
        msgspec.ValidationError: The message has another shape.
        msgspec.DecodeError: The message is not JSON in UTF-8, or is nested deeper than MAX_FRAME_LEVELS.
    """
    if is_too_deep(text, MAX_FRAME_LEVELS):
        raise msgspec.DecodeError(f"it is nested deeper than {MAX_FRAME_LEVELS} levels")
    try:
        return msgspec.json.decode(text, type=shape)
    except msgspec.DecodeError:
        pass
    try:
        value = json.loads(text if isinstance(text, str) else text.decode(), parse_int=_integer_or_infinity)
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from None
    return msgspec.convert(value, shape)


def _integer_or_infinity(text: str) -> float:
    return int(text) if len(text) <= 308 else float(text)  # 1e308 is the largest power of ten that is a float


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is out of range")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
