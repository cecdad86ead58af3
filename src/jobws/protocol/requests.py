"""A client's JSON value to a checked request, or the error that says what was expected.

Unknown keys are ignored, so that newer clients can talk to older bridges (protocol.md, rule M4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.errors import RequestError
from jobws.protocol.identifiers import MAX_SAFE_INTEGER, is_text, parse_job_id, parse_stream_id, type_name
from jobws.protocol.job_line_position import parse_logs
from jobws.protocol.messages import (
    DEFAULT_EVENTS,
    Cursor,
    ItemError,
    Ping,
    Ref,
    Request,
    Room,
    Subscribe,
    Subscription,
    Unsubscribe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import TypeVar

    Item = TypeVar("Item")

MAX_EVENTS: Final = 32
MAX_EVENT_BYTES: Final = 64
MAX_REF_BYTES: Final = 128
# Keys that a list's items may share, in `{"jobs": [...], …}`.
_COMMON_KEYS: Final = ("queue", "events", "until", "after", "logs")
_KNOWN: Final = "subscribe-job, unsubscribe-job, subscribe-queue, unsubscribe-queue, ping"  # as in protocol.md, §3


def parse_ref(value: object) -> Ref | None:
    """The `ref` of a request, None if it has none.

    Raises:
        RequestError: `bad-ref`; the answer then carries no ref.
    """
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= MAX_REF_BYTES and is_text(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_SAFE_INTEGER:
        return value
    raise RequestError(
        "bad-ref",
        f"`ref` must be a string of at most {MAX_REF_BYTES} characters or an integer within ±(2^53-1)",
    )


def parse_request(event: str, data: object, ref: Ref | None, queues: Container[str], max_items: int) -> Request:
    """The request that `event` and `data` make.

    Args:
        event: The frame's `event`.
        data: The frame's `data`, None if absent.
        ref: The frame's `ref`, checked.
        queues: The labels that may be named.
        max_items: How many items a list may have.

    Raises:
        RequestError: The whole request is wrong. What is wrong with one item of a list is an `ItemError` in it.
    """
    parser = _Parser(queues, max_items)
    match event:
        case "subscribe-job":
            items, many = parser.each(data, parser.subscription)
            return Subscribe(event, items, many, ref)
        case "unsubscribe-job":
            rooms, many = parser.each(data, parser.room)
            return Unsubscribe(event, rooms, many, ref)
        case "subscribe-queue":
            return Subscribe(event, (parser.queue_subscription(data),), many=False, ref=ref)
        case "unsubscribe-queue":
            room = Room(parser.queue(_queue_of(data), required=True), None)
            return Unsubscribe(event, (room,), many=False, ref=ref)
        case "ping":
            return Ping(ref)
        case _:
            raise RequestError("unknown-event", f"unknown event; this bridge knows {_KNOWN}")


def parse_rooms(data: object, queues: Container[str], max_items: int) -> tuple[Room | ItemError, ...]:
    """The rooms that `data` names, as `unsubscribe-job` and HTTP's `/lookup` take them.

    Raises:
        RequestError: `data` is wrong as a whole.
    """
    parser = _Parser(queues, max_items)
    return parser.each(data, parser.room)[0]


class _Parser:
    """The parts of a request, checked against what the bridge has and allows."""

    def __init__(self, queues: Container[str], max_items: int) -> None:
        self._queues = queues
        self._max_items = max_items
        # What all items of a list share is parsed once: a cursor may name thousands of queues.
        self._cursor: tuple[object, Cursor] | None = None

    def each(self, data: object, parse: Callable[[object], Item]) -> tuple[tuple[Item | ItemError, ...], bool]:
        """The items of `data` and whether they came as a list. A single item's error is raised, not returned."""
        values = _items_of(data)
        if values is None:
            return (parse(data),), False
        if len(values) > self._max_items:
            raise RequestError("too-many", f"a list may have {self._max_items} items, this one has {len(values)}")
        return tuple(_item_or_error(value, parse) for value in values), True

    def room(self, value: object) -> Room:
        if not isinstance(value, dict):
            return Room(None, parse_job_id(value))
        if "jobId" not in value:
            raise RequestError("bad-data", "expected an object with `jobId`, this one has none")
        return Room(self.queue(value.get("queue"), required=False), parse_job_id(value["jobId"]))

    def subscription(self, value: object) -> Subscription:
        if not isinstance(value, dict):
            return Subscription(Room(None, parse_job_id(value)))
        room = self.room(value)
        after = self.after(value.get("after"), room)
        logs = parse_logs(value.get("logs"), room.queue, self._queues)
        return Subscription(room, _events(value), _until_end(value), after, logs)

    def after(self, value: object, room: Room) -> Cursor | None:
        """The positions behind which events are wanted. Queues that this bridge has not are ignored."""
        if value is None:
            return None
        if isinstance(value, str):
            if room.queue is None:
                raise RequestError("bad-after", "a stream id as `after` needs `queue`; else send the cursor object")
            return {room.queue: _stream_id(value)}
        if not isinstance(value, dict):
            raise RequestError("bad-after", f"`after` must be a cursor object or a stream id, not {type_name(value)}")
        if self._cursor is None or self._cursor[0] is not value:
            cursor = {queue: _stream_id(text) for queue, text in value.items() if queue in self._queues}
            self._cursor = value, cursor
        return self._cursor[1]

    def queue_subscription(self, data: object) -> Subscription:
        room = Room(self.queue(_queue_of(data), required=True), None)
        return Subscription(room, _events(data) if isinstance(data, dict) else DEFAULT_EVENTS)

    def queue(self, value: object, *, required: bool) -> str | None:
        if value is None and not required:
            return None
        if not isinstance(value, str):
            raise RequestError("bad-queue", f"`queue` must be a label, not {type_name(value)}")
        if value not in self._queues:
            raise RequestError("unknown-queue", "this bridge has no `queue` of that label; GET /queues lists them")
        return value


def _stream_id(value: object) -> str:
    found = parse_stream_id(value) if isinstance(value, str) else None
    if found is None:
        raise RequestError("bad-after", '`after` must hold stream ids such as "1795435729358-0"')
    return "{}-{}".format(*found)


def _items_of(data: object) -> list[object] | None:
    """The items of a list, common keys merged in; None if `data` is a single item."""
    if isinstance(data, list):
        return data
    if not isinstance(data, dict) or "jobs" not in data:
        return None
    jobs = data["jobs"]
    if not isinstance(jobs, list):
        raise RequestError("bad-data", f"`jobs` must be a list, not {type_name(jobs)}")
    common = {key: data[key] for key in _COMMON_KEYS if key in data}
    return [{**common, **(job if isinstance(job, dict) else {"jobId": job})} for job in jobs]


def _item_or_error(value: object, parse: Callable[[object], Item]) -> Item | ItemError:
    try:
        return parse(value)
    except RequestError as error:
        return ItemError(error.code, error.message)


def _queue_of(data: object) -> object:
    return data.get("queue") if isinstance(data, dict) else data


def _events(item: dict[str, object]) -> frozenset[str] | None:
    """The chosen events; None for all of them."""
    names = item.get("events")
    if names is None:
        return DEFAULT_EVENTS
    if not isinstance(names, list) or not names:
        raise RequestError("bad-events", '`events` must be a list of event names, or ["*"] for all')
    if len(names) > MAX_EVENTS:
        raise RequestError("bad-events", f"`events` may name {MAX_EVENTS} events at most")
    for name in names:
        if not isinstance(name, str) or not name or not is_text(name):
            raise RequestError("bad-events", "each of `events` must be a non-empty string")
        if len(name.encode()) > MAX_EVENT_BYTES:
            raise RequestError("bad-events", f"an event's name may have {MAX_EVENT_BYTES} bytes of UTF-8")
    return None if "*" in names else frozenset(names)


def _until_end(item: dict[str, object]) -> bool:
    until = item.get("until")
    if until is None:
        return False
    if until != "end":
        raise RequestError("bad-until", '`until` can only be "end"')
    return True
