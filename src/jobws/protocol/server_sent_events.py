"""Writes frames as server-sent events (WHATWG HTML, §9.2), with positions as their `id`s.

A frame's payload is the text that the WebSocket sends. This module splits the text into parts. Of the data of a job
event, which may have megabytes, it parses only the first key; the data of an `ack`, a `pong` or a `gap` it parses.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from jobws.errors import RequestError
from jobws.protocol.codec import decode_as
from jobws.protocol.identifiers import START, lower, position
from jobws.protocol.messages import OUTCOMES, Cursor, Sub

if TYPE_CHECKING:
    from jobws.protocol.codec import Frame

# A client sends the `id` back in the head of a request, which is limited to 16 KiB.
MAX_POSITION_BYTES: Final = 8 * 1024
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_LINE_ENDS_IN_NAME: Final = re.compile(r"[\r\n]+")
_QUEUE: Final = '{"queue":'


class Parts(NamedTuple):
    """The parts of a frame: the values of its keys.

    `position` is the frame's `id`, and `sub` the name of its subscription. Each of them is None if the frame has no
    such key. `data` is JSON text in UTF-8.
    """

    event: str
    position: str | None
    sub: Sub | None
    data: bytes

    @property
    def queue(self) -> str:
        """The label of a job event's queue, the first key of its data. Only for the parts of a job event."""
        label, _ = json.JSONDecoder().raw_decode(self.data.decode(), len(_QUEUE))
        return str(label)


class _Head(msgspec.Struct):
    event: str
    id: str | None = None
    sub: Sub | None = None


class _HasAfter(msgspec.Struct):
    """The positions in an `ack`, in one of its items, or in a `pong`."""

    after: Cursor = {}
    unknown: bool = False
    results: list[_HasAfter] = []


class _Gap(msgspec.Struct):
    queue: str
    reason: str


def parts_of(frame: Frame) -> Parts:
    """Split a server's frame, whose last key is `data`."""
    # Within a string these quotes would be escaped, so the first match is the key.
    head, _, rest = frame.payload.partition(b',"data":')
    known = msgspec.json.decode(head + b"}", type=_Head)
    return Parts(known.event, known.id, known.sub, rest[:-1])


def encode_position(after: Cursor) -> str:
    """Return positions by queue as base64url of their JSON, without padding."""
    return urlsafe_b64encode(msgspec.json.encode(after)).rstrip(b"=").decode()


def decode_position(text: str) -> dict[str, object]:
    """Return the positions from the text that `encode_position` made. They are not checked.

    Raises:
        RequestError: `bad-after`: the text was not made by `encode_position`.
    """
    try:
        after = decode_as(urlsafe_b64decode(text + "=" * (-len(text) % 4)), dict[str, object])
    except (ValueError, msgspec.DecodeError):
        raise RequestError("bad-after", "`Last-Event-ID` must be the `id` of an event of this stream") from None
    return after


def frame_block(frame: Frame) -> bytes:
    """Return a server-sent event whose data is a whole frame, with a `data:` line for each line of its JSON."""
    return _lines(frame.payload) + b"\n"


def close_block(code: int, reason: str) -> bytes:
    """Return the last event of a stream, with the code and reason that a WebSocket's close frame would have."""
    return b"event: close\n%b\n" % _lines(msgspec.json.encode({"code": code, "reason": reason}))


def _lines(data: bytes) -> bytes:
    """Return JSON text as `data:` lines. A worker's JSON may contain line breaks, which a client restores."""
    return b"data: %b\n" % _LINE_END.sub(b"\ndata: ", data)


class EventStreamWriter:
    """Turns the frames of one request's subscriptions into the bytes of an event stream.

    The writer keeps a position for each subscription, as every client does (protocol.md P3 and P4). The `id`s of the
    stream are the lowest positions of the subscriptions that are not over.

    Args:
        queue: The label in the request; None if each subscription is to all queues.
        until_end: Whether a subscription is over after its outcome. If not, none is ever over.

    Attributes:
        unknown: The numbers (`sub`) of the subscriptions that were answered with `unknown`: no queue had their job
            then. They stay here, even if the job is added later.
    """

    def __init__(self, queue: str | None, *, until_end: bool = False) -> None:
        self.unknown: set[Sub | None] = set()
        self._queue = queue
        self._until_end = until_end
        self._over: set[Sub] = set()
        # The position of each subscription. The index is the subscription's `sub`, a number. The list is empty before
        # the ack.
        self._after: list[Cursor] = []

    def block(self, frame: Frame) -> bytes:
        """Return the event for a frame. A `pong` becomes only an `id`, which reaches no listener in a browser."""
        parts = parts_of(frame)
        before = self._lowest()
        match parts.event:
            case "ack":
                ack = decode_as(parts.data, _HasAfter)
                self._after = [{**ack.after, **result.after} for result in ack.results]
                self.unknown.update(sub for sub, result in enumerate(ack.results) if result.unknown)
            case "pong":
                self._take_over(decode_as(parts.data, _HasAfter).after)
                return b":\n%b\n" % self._position()
            case "gap":
                gap = decode_as(parts.data, _Gap)
                concerned = self._after if parts.sub is None else [self._after[int(parts.sub)]]
                for after in concerned if gap.reason != "trimmed" else ():
                    after[gap.queue] = START
            case event if parts.position is not None and parts.sub is not None:
                self._after[int(parts.sub)][parts.queue] = parts.position
                if self._until_end and event in OUTCOMES:
                    self._over.add(parts.sub)
            case _:
                pass
        name = _LINE_ENDS_IN_NAME.sub(" ", parts.event).encode()
        moved = parts.event == "ack" or self._lowest() != before
        return b"event: %b\n%b%b\n" % (name, self._position() if moved else b"", _lines(parts.data))

    def _take_over(self, positions: Cursor) -> None:
        """Set the positions of all subscriptions to those of a `pong`, where these are later or where there is none."""
        for after in self._after:
            for queue, reached in positions.items():
                known = after.get(queue)
                if self._queue not in (None, queue):
                    continue
                if known is None:
                    after[queue] = reached
                    continue
                stream_id, tilde, suffix = known.partition("~")
                if position(reached) > position(stream_id):
                    after[queue] = f"{reached}{tilde}{suffix}"

    def _lowest(self) -> Cursor:
        if len(self._after) == 1:
            return dict(self._after[0])
        lowest: Cursor = {}
        left = [after for sub, after in enumerate(self._after) if sub not in self._over]
        for after in left or self._after:
            for queue, text in after.items():
                stream_id = text.partition("~")[0]
                known = lowest.get(queue, stream_id)
                # If all subscriptions are over, take the highest positions, since nothing follows.
                lowest[queue] = lower(known, stream_id) if left else max(known, stream_id, key=position)
        return lowest

    def _position(self) -> bytes:
        if not self._after:
            return b""
        encoded = encode_position(self._lowest())
        return b"id: %b\n" % encoded.encode() if len(encoded) <= MAX_POSITION_BYTES else b""
