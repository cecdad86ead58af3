"""Checks the requests of `/logs`: turns a JSON value into a request, or raises a RequestError.

Unknown keys are ignored, as on `/ws` (protocol.md M4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from jobws.errors import RequestError
from jobws.protocol.identifiers import MAX_SAFE_INTEGER, is_text, parse_stream_id, type_name
from jobws.protocol.log.records import LEVELS, parse_level, severity
from jobws.protocol.messages import Ref
from jobws.protocol.request_types import Ping
from jobws.protocol.requests import FORBIDDEN
from jobws.protocol.session import BaseSession

if TYPE_CHECKING:
    from jobws.protocol.log.records import LogRecord
    from jobws.protocol.request_types import Sight

MAX_CHOICES: Final = 1000
MAX_TEXT_BYTES: Final = 1024
_NOT_BY_QUEUE: Final = (
    "labels of this bridge differ from the queues' names, so lines cannot be told apart by queue; this needs read:logs"
)
_KNOWN: Final = "subscribe-logs, unsubscribe-logs, ping, authenticate"


class LogFilter(Struct, frozen=True):
    """The lines that a client wants: those that meet every condition. An attribute that is None is no condition.

    A set has the values that pass. `severity` is the rank of the lowest level that passes. `text` is in lower case, and
    is searched in the message in lower case. If `has_queue` is true, only lines that name a queue pass.
    """

    severity: int = 0
    sources: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    job_ids: frozenset[str] | None = None
    text: str | None = None
    has_queue: bool = False

    def wants(self, record: LogRecord) -> bool:
        """Whether `record` meets the conditions other than `text`. Searching a large message for `text` takes long."""
        return (
            (not self.severity or severity(record.level) >= self.severity)
            and (self.sources is None or record.source in self.sources)
            and (self.queues is None or record.queue in self.queues)
            and (self.job_ids is None or record.job_id in self.job_ids)
            and not (self.has_queue and record.queue is None)
        )

    @property
    def is_open(self) -> bool:
        """Whether every line is wanted."""
        return self == _ALL


_ALL: Final = LogFilter()


class SubscribeLogs(Struct, frozen=True):
    """The request `subscribe-logs`.

    `after` is a stream id: every later line is wanted. `tail` is how many of the last lines are wanted. At most one of
    them is set. If neither is, lines are wanted from now on. `asked` passes the lines that the client asked for, and
    `filter` those of them that it may read.
    """

    asked: LogFilter
    filter: LogFilter
    tail: int | None
    after: str | None
    ref: Ref | None


class UnsubscribeLogs(Struct, frozen=True):
    """The request `unsubscribe-logs`."""

    ref: Ref | None


LogRequest: TypeAlias = SubscribeLogs | UnsubscribeLogs | Ping


class LogSession(BaseSession[LogRequest]):
    """The state of the protocol for one connection to `/logs`.

    Args:
        max_message_bytes: The largest message that a client may send.
        sight: What the client may read.
        by_queue: Whether a line's `queue` is the label of the queue. If it is not, a client that may not read every
            line is refused, since the bridge cannot tell which lines it may read.
    """

    __slots__ = ("_by_queue",)

    def __init__(self, max_message_bytes: int, sight: Sight, *, by_queue: bool = True) -> None:
        super().__init__(max_message_bytes, sight)
        self._by_queue = by_queue

    def _request(self, event: str, data: object, ref: Ref | None) -> LogRequest:
        match event:
            case "subscribe-logs":
                asked, tail, after = _subscription(data)
                return SubscribeLogs(asked, self.readable(asked), tail, after, ref)
            case "unsubscribe-logs":
                return UnsubscribeLogs(ref)
            case "ping":
                return Ping(ref)
            case _:
                raise RequestError("unknown-event", f"unknown event; /logs knows {_KNOWN}")

    def readable(self, asked: LogFilter) -> LogFilter:
        """Return the filter for those lines that the client asked for and may read.

        Raises:
            RequestError: `forbidden`. The client may read no lines at all, or not those of a queue that it named, or
                the bridge cannot tell which queue a line is about.
        """
        if self.sight.may_read_lines(None):
            return asked
        queues = self.sight.line_queues if asked.queues is None else asked.queues
        if queues is not None:
            # Each queue is looked at, also after a no, since an authorizer is asked about all of them together.
            readable = [self.sight.may_read_lines(queue) for queue in queues]
            if not (readable and all(readable)):
                raise RequestError(FORBIDDEN.code, FORBIDDEN.message)
        if not self._by_queue:
            raise RequestError(FORBIDDEN.code, _NOT_BY_QUEUE)
        return replace(asked, queues=queues, has_queue=True)


def _subscription(data: object) -> tuple[LogFilter, int | None, str | None]:
    """Return the filter, `tail` and `after` of a request's `data`, or raise RequestError.

    If `data` is None, every line passes the filter. `tail` and `after` are None if `data` does not have them.
    """
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise RequestError("bad-data", f"expected an object with filters, got {type_name(data)}")
    tail, after = _tail(data.get("tail")), _after(data.get("after"))
    if tail is not None and after is not None:
        raise RequestError("bad-after", "`after` and `tail` exclude each other")
    chosen = LogFilter(
        _severity(data.get("level")),
        _choice(data, "source"),
        _choice(data, "queue"),
        _choice(data, "jobId"),
        _text(data.get("text")),
    )
    return chosen, tail, after


def _severity(value: object) -> int:
    if value is None:
        return 0
    level = parse_level(value) if isinstance(value, str) else None
    if level is None:
        raise RequestError("bad-filter", f"`level` must be one of {', '.join(LEVELS)}")
    return severity(level)


def _choice(data: dict[str, object], key: str) -> frozenset[str] | None:
    value = data.get(key)
    if value is None:
        return None
    texts = value if isinstance(value, list) else [value]
    chosen = frozenset(text for text in texts if isinstance(text, str))
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError("bad-filter", f"`{key}` must be a string or a list of strings")
    if len(texts) > MAX_CHOICES:
        raise RequestError("bad-filter", f"`{key}` may name {MAX_CHOICES} at most")
    return chosen


def _text(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not is_text(value) or len(value.encode()) > MAX_TEXT_BYTES:
        raise RequestError("bad-filter", f"`text` must be a string of at most {MAX_TEXT_BYTES} bytes of UTF-8")
    return value.lower()


def _tail(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SAFE_INTEGER:
        raise RequestError("bad-filter", "`tail` must be an integer from 0 to 2^53-1")
    return value


def _after(value: object) -> str | None:
    if value is None:
        return None
    found = parse_stream_id(value) if isinstance(value, str) else None
    if found is None:
        raise RequestError("bad-after", '`after` must be a stream id such as "1795435729358-0"')
    return "{}-{}".format(*found)
