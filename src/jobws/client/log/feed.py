"""The lines of the log that a client reads, across its connections. Pure.

The client receives all lines without delay. If its user takes them too slowly, lines are dropped and counted, and the
user gets a line that says how many.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from jobws.client.connection.backoff import Backoff
from jobws.client.frames import not_ours
from jobws.errors import ResponseError
from jobws.protocol.identifiers import START, position
from jobws.protocol.log.records import LogRecord
from jobws.protocol.messages import ErrorData, HelloData

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobws.client.frames import Frame
    from jobws.errors import ClientError

# How many bytes of lines may wait for the user.
BACKLOG_BYTES: Final = 16 * 1024 * 1024
# Without `follow`: the pause before the first `ping`, whose answer has the position reached. The pause then doubles.
END_SECONDS: Final = 0.02
LONGEST_END_SECONDS: Final = 20.0
# Temporary errors, after which the client subscribes again.
_TEMPORARY: Final = frozenset({"unavailable", "unsubscribed", "expired"})
_SOURCE: Final = "jobws"


class LogLine(LogRecord, frozen=True, rename="camel", omit_defaults=True):
    """One line of the log. `time` is in milliseconds since 1970; `level` is debug, info, warning, error or critical.

    Attributes:
        id: The line's id in the stream, for the argument `after`. None on a line that the client itself adds.
        replayed: Whether the line is of the past and was read from Redis again.
        dropped: How many lines are missing here, at least. It is 0 on lines of programs. Other lines are added by the
            client, and their message says the same.
    """

    id: str | None = None
    replayed: bool = False
    dropped: int = 0


class _AckData(Struct, frozen=True):
    after: str = START
    gap: bool = False


class _PongData(Struct, frozen=True):
    after: str | None = None


class _DroppedData(Struct, frozen=True):
    count: int = 1
    approximate: bool = False


class LogFeed:
    """A subscription to the log, and the lines that wait for the user. This is the `Exchange` of its `Session`.

    Args:
        chosen: The filters, as keys of the data of `subscribe-logs` (protocol.md, L4).
        begin: Where to begin: `{"tail": n}`, `{"after": id}`, or {} for the lines that are written from now on.
        follow: Whether to continue with new lines after the existing lines.
        now_ms: Returns the time in milliseconds since 1970, for the client's own lines.
        changed: Called when there is a new line or an attribute has changed. It must not wait.
        chance: Returns random numbers from 0 to below 1, which vary the pauses before subscribing again.

    Attributes:
        failure: Why no more lines will come. None while lines may come.
        ended: Whether all lines have come. Always False with `follow`.
        answered: Whether the subscription has been acknowledged, on any connection.
    """

    def __init__(
        self,
        chosen: Mapping[str, object],
        begin: Mapping[str, object],
        *,
        follow: bool,
        now_ms: Callable[[], int],
        changed: Callable[[], object],
        chance: Callable[[], float],
    ) -> None:
        self.failure: ClientError | None = None
        self.ended = False
        self.answered = False
        self._chosen = chosen
        self._begin = begin
        self._follow = follow
        self._now_ms = now_ms
        self._changed = changed
        self._backoff = Backoff(chance)
        self._lines: deque[tuple[LogLine, int]] = deque()
        self._bytes = self._missed = 0
        self._position: str | None = None
        self._end: str | None = None
        self._refs = count(1)
        self._asked = 0
        self._listening = False
        self._ask_due = self._ping_due = inf  # inf: not due, or not connected
        self._end_seconds = END_SECONDS

    def take(self) -> LogLine | None:
        """Remove and return the next line; it may be one that counts dropped lines. Return None if none waits."""
        if self._lines:
            line, size = self._lines.popleft()
            self._bytes -= size
            return line
        if self._missed:
            missed, self._missed = self._missed, 0
            return self._own(missed, f"{missed:,} lines were dropped here: they were not read as fast as they came")
        return None

    def connected(self, hello: HelloData, now: float) -> None:
        """Let `requests` subscribe on a new connection."""
        self._ask_due, self._ping_due = now, inf

    def fail(self, error: ClientError) -> None:
        """Set `failure`: no more lines come. Those that wait can still be taken."""
        self.failure = error
        self._ask_due = self._ping_due = inf
        self._changed()

    def due(self) -> float:
        """Return when to call `requests` next. -inf or a past time: now. inf: not until another method was called."""
        return min(self._ask_due, self._ping_due)

    def requests(self, now: float) -> list[str]:
        """Return the messages to send at the time `now`. They count as sent: the next call does not return them."""
        messages = []
        if now >= self._ask_due:
            self._ask_due = inf
            begin = self._begin if self._position is None else {"after": self._position}
            # The answer to a subscription without `begin` has the position of the stream's end.
            data = {} if self._seeks_end else {**self._chosen, **begin}
            self._asked = next(self._refs)
            messages.append(_message("subscribe-logs", data, self._asked))
        if now >= self._ping_due:
            self._ping_due = inf
            messages.append(_message("ping", None, next(self._refs)))
        return messages

    def receive(self, frame: Frame, size: int, now: float) -> None:
        """Handle a frame with `size` characters of text. Raises UnreachableError if its data are malformed."""
        try:
            match frame.event:
                case "ack" if frame.ref == self._asked and self._seeks_end:
                    self._end = msgspec.convert(frame.data, _AckData).after
                    self._ask_due = now
                case "ack" if frame.ref == self._asked:
                    self._acknowledged(msgspec.convert(frame.data, _AckData), now)
                case "error" | "ended" if frame.event == "ended" or frame.ref == self._asked:
                    self._refused(msgspec.convert(frame.data, ErrorData), now)
                case "log" if self._listening and isinstance(frame.data, dict) and frame.id is not None:
                    self._position = frame.id  # first, so that a malformed line is not requested again
                    line = msgspec.convert({**frame.data, "id": frame.id, "replayed": frame.replayed}, LogLine)
                    self._put(line, size)
                case "dropped" if self._listening:
                    dropped = msgspec.convert(frame.data, _DroppedData)
                    self._put(self._own(max(1, dropped.count), _in_words(dropped)), size)
                case "pong":
                    self._pong(msgspec.convert(frame.data, _PongData).after, now)
                case _:
                    return
        except msgspec.ValidationError as error:
            raise not_ours(error) from None
        self._end_if_reached()

    @property
    def _seeks_end(self) -> bool:
        return not self._follow and self._end is None

    def _acknowledged(self, ack: _AckData, now: float) -> None:
        if ack.gap:
            self._put(self._own(1, "lines may be missing here: Redis no longer has all that came meanwhile"), 0)
        self._position = ack.after
        self._listening = self.answered = True
        self._backoff.reset()
        self._look_for_end(now)
        self._changed()

    def _refused(self, error: ErrorData, now: float) -> None:
        # Without `follow` the user waits for the end of the lines, so the client does not wait until Redis is back.
        if error.code in _TEMPORARY and (self._follow or error.code != "unavailable"):
            self._ask_due = now + self._backoff.next()
        else:
            self.fail(ResponseError(error.code, error.message))

    def _pong(self, reached: str | None, now: float) -> None:
        if self._listening and reached is not None:
            self._position = reached
        self._look_for_end(now)

    def _look_for_end(self, now: float) -> None:
        if not self._follow:
            self._ping_due = now + self._end_seconds
            self._end_seconds = min(2 * self._end_seconds, LONGEST_END_SECONDS)

    def _end_if_reached(self) -> None:
        reached = self._position if self._listening else None
        if self._end is not None and reached is not None and position(reached) >= position(self._end):
            self.ended = True
            self._changed()

    def _put(self, line: LogLine, size: int) -> None:
        # After a dropped line all lines are dropped, until `take` has returned the line that counts them.
        if self._missed or (self._lines and self._bytes + size > BACKLOG_BYTES):
            self._missed += line.dropped or 1
        elif not self.ended:
            self._lines.append((line, size))
            self._bytes += size
        self._changed()

    def _own(self, dropped: int, message: str) -> LogLine:
        return LogLine(self._now_ms(), "warning", _SOURCE, message, dropped=dropped)


def _in_words(dropped: _DroppedData) -> str:
    if not dropped.count:
        return "lines may be missing here: the stream began again"
    return f"{'about ' if dropped.approximate else ''}{dropped.count:,} lines are missing here"


def _message(event: str, data: Any, ref: int) -> str:
    return msgspec.json.encode({"event": event, "data": data, "ref": ref}).decode()
