"""The state of the protocol for one connection: turns each frame of a client into a request or an answer.

Nothing here waits or raises. Anything that a client sends becomes a request, an `error` frame, or the end of its own
connection (protocol.md M3).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

from msgspec import UNSET, Struct

from jobws.errors import RequestError
from jobws.protocol import request_fields, requests
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.codec import Frame, decode_checked, encode
from jobws.protocol.echo import echoed
from jobws.protocol.identifiers import is_text, type_name
from jobws.protocol.messages import Error, ErrorData, Ref
from jobws.protocol.nesting import MAX_MESSAGE_MARKS, check_levels, check_marks
from jobws.protocol.request_types import Request, Subscribe

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from jobws.protocol.request_types import Authenticate, Sight

# This many errors within ABUSE_SECONDS end a connection. Otherwise a client in a loop would get errors without end.
ABUSE_ERRORS: Final = 20
ABUSE_SECONDS: Final = 10.0
# Errors because a right or a token is missing are counted apart and have a higher limit, since such a client may have
# done nothing wrong.
REFUSALS: Final = frozenset({"forbidden", "expired", "unauthenticated", "bad-token"})
MAX_REFUSALS: Final = 100


# How large a message may be before the client has sent a valid token: a token of 16 KiB, and what is around it.
MAX_FIRST_BYTES: Final = 17 * 1024
_ALWAYS: Final = ("authenticate", "ping")


class Standing(Enum):
    """Whether a client's token is valid now."""

    WITHOUT_TOKEN = "without token"  # noqa: S105 - no secret
    """The bridge has keys, and the client has sent no token yet."""
    VALID = "valid"
    EXPIRED = "expired"
    """The token has expired. Subscriptions go on for a time, in which the client may send a new token."""

    def check(self, event: str) -> None:
        """Check that a client of this standing may send the request named `event`.

        Raises:
            RequestError: `unauthenticated` or `expired`.
        """
        match self:
            case Standing.WITHOUT_TOKEN if event not in _ALWAYS:
                raise RequestError("unauthenticated", "this needs a token; send `authenticate` first")
            case Standing.EXPIRED if event not in _ALWAYS and not event.startswith("unsubscribe-"):
                raise RequestError("expired", "the token has expired; send `authenticate` with a new one")
            case _:
                pass


class Close(Struct, frozen=True):
    """The connection must end with this code, after `answer` is sent."""

    code: CloseCode
    reason: str
    answer: Frame | None = None


RequestT = TypeVar("RequestT")


class BaseSession(ABC, Generic[RequestT]):
    """The state of the protocol for one connection, of `/ws` or of `/logs`.

    Args:
        max_message_bytes: The largest message that a client may send.
        sight: What the client may read.

    Attributes:
        sight: What the client may read. `hub.client.Client` replaces it when the client's rights change.
        standing: Whether the client's token is valid now. Those who verify tokens, and watch when they expire, set it.
    """

    __slots__ = ("_errors", "_max_message_bytes", "_refusals", "sight", "standing")

    def __init__(self, max_message_bytes: int, sight: Sight) -> None:
        self.sight = sight
        self.standing = Standing.VALID
        self._max_message_bytes = max_message_bytes
        self._errors: deque[float] | None = None
        self._refusals: deque[float] | None = None

    @abstractmethod
    def _request(self, event: str, data: object, ref: Ref | None) -> RequestT:
        """Return the request that `event`, `data` and `ref` make. Raises RequestError."""

    def _examine(self, event: str, data: object) -> None:
        """Ask `sight` for every right that this request to subscribe needs. Raises RequestError."""
        self._request(event, data, None)

    @contextmanager
    def seeing(self, sight: Sight) -> Iterator[None]:
        """Use other rights inside the context, which must not wait."""
        kept, self.sight = self.sight, sight
        try:
            yield
        finally:
            self.sight = kept

    def rehearse(self, message: str | bytes, sight: Sight) -> None:
        """Ask `sight` for every right that a message needs to be answered. Nothing is answered, and nothing counted.

        To leave a subscription needs no right.
        """
        if self._limit_exceeded(message) is not None:
            return
        with self.seeing(sight):
            try:
                envelope = _envelope(message)
                event = _event(envelope)
                self.standing.check(event)
                if event.startswith("subscribe-"):
                    self._examine(event, envelope.get("data"))
            except RequestError:
                pass  # the answer will say it

    def _limit_exceeded(self, message: str | bytes) -> int | None:
        """Return how many bytes a message may have if this one has more, and None otherwise."""
        # The exact size is computed only if it may be too large: a character has at most 4 bytes of UTF-8.
        limit = self._max_message_bytes
        if self.standing is Standing.WITHOUT_TOKEN:
            limit = min(limit, MAX_FIRST_BYTES)
        return limit if 4 * len(message) > limit and _size(message) > limit else None

    def receive(
        self, message: str | bytes, now: float, problem: RequestError | None = None
    ) -> RequestT | Authenticate | Frame | Close:
        """Return the request in a client's message, the frame to answer with, or the end of the connection.

        Args:
            message: The payload: `str` of a text frame, `bytes` of a binary frame.
            now: Seconds on a clock that never goes back.
            problem: Why a request to subscribe cannot be served now. None means that it can.
        """
        if (limit := self._limit_exceeded(message)) is not None:
            return Close(CloseCode.MESSAGE_TOO_BIG, f"a message may have {limit} bytes")
        ref: Ref | None = None
        event: str | None = None
        try:
            envelope = _envelope(message)
            ref = request_fields.parse_ref(envelope.get("ref"))
            event = _event(envelope)
            if self.standing is not Standing.VALID:
                self.standing.check(event)
            if event == "authenticate":
                return requests.parse_authenticate(envelope.get("data"), ref)
            if problem is not None and event.startswith("subscribe-"):
                raise problem
            return self._request(event, envelope.get("data"), ref)
        except RequestError as error:
            known = event if error.code != "unknown-event" else None
            return self.refuse(error.code, error.message, known, ref, now)

    def refuse(self, code: str, message: str, request: str | None, ref: Ref | None, now: float) -> Frame | Close:
        """Count an error, and return its `error` frame, or the end of a connection that has caused too many errors.

        `request` and `ref` are None if they could not be read. `now` is in seconds on a clock that never goes back.
        """
        answer = error_frame(code, message, request, ref)
        if code == "unavailable":
            return answer  # the client has done nothing wrong
        if code in REFUSALS:
            if self._refusals is None:
                self._refusals = deque(maxlen=MAX_REFUSALS)
            reason = f"{MAX_REFUSALS} requests without a right to them within {ABUSE_SECONDS:g} s"
            return Close(CloseCode.TOO_MANY, reason, answer) if _is_full(self._refusals, now) else answer
        if self._errors is None:
            self._errors = deque(maxlen=ABUSE_ERRORS)
        reason = f"{ABUSE_ERRORS} errors within {ABUSE_SECONDS:g} s"
        return Close(CloseCode.ABUSE, reason, answer) if _is_full(self._errors, now) else answer


def _is_full(errors: deque[float], now: float) -> bool:
    """Add an error at `now`. Return whether `errors` is full, and all of them happened within ABUSE_SECONDS."""
    errors.append(now)
    return len(errors) == errors.maxlen and now - errors[0] <= ABUSE_SECONDS


class Session(BaseSession[Request]):
    """The state of the protocol for one connection to `/ws`.

    Args:
        queues: The labels that a request may name: with discovery, also those of queues that may appear later.
        max_message_bytes: The largest message that a client may send.
        max_items: How many items a list may have.
        sight: What the client may read.
    """

    __slots__ = ("_max_items", "_queues")

    def __init__(self, queues: Container[str], max_message_bytes: int, max_items: int, sight: Sight) -> None:
        super().__init__(max_message_bytes, sight)
        self._queues = queues
        self._max_items = max_items

    def _request(self, event: str, data: object, ref: Ref | None) -> Request:
        return requests.parse_request(event, data, ref, self._queues, self._max_items, self.sight)

    def _examine(self, event: str, data: object) -> None:
        request = cast("Subscribe", self._request(event, data, None))
        deque(request.items, maxlen=0)  # each item is judged when it is iterated


def error_frame(code: str, message: str, request: str | None, ref: Ref | None) -> Frame:
    """Return the `error` frame that refuses a request, or a client's frame that is not a request.

    `request` is the request's name, None if it is unknown or could not be read. `ref` is the client's mark on the
    request, None if the request has none, or none that can be read.
    """
    data = ErrorData(code, message, UNSET if request is None else request)
    return encode(Error(data, echoed(ref)))


def _size(message: str | bytes) -> int:
    return len(message if isinstance(message, bytes) else message.encode(errors="surrogatepass"))


def _envelope(message: str | bytes) -> dict[str, object]:
    if isinstance(message, bytes):
        raise RequestError("binary", "expected a text frame, this one is binary")
    # First, so that a message that is nested too deep is refused for that.
    check_levels(message)
    deque(check_marks(message, MAX_MESSAGE_MARKS, "a message"), maxlen=0)
    value = decode_checked(message)
    if not isinstance(value, dict):
        raise RequestError("not-an-object", f"expected a JSON object, got {type_name(value)}")
    return value


def _event(envelope: dict[str, object]) -> str:
    event = envelope.get("event")
    if not isinstance(event, str) or not is_text(event):
        raise RequestError("bad-event", "expected `event` to be a string that names the request")
    return event
