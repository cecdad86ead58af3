"""Checks the requests of `/ws`: turns a JSON value into a request, or raises an error that says what was expected.

Unknown keys are ignored, so that newer clients can talk to older bridges (protocol.md M4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.errors import RequestError
from jobws.protocol.identifiers import parse_job_id, type_name
from jobws.protocol.job_log_position import parse_logs
from jobws.protocol.messages import OUTCOMES, Cursor, ItemError, Ref
from jobws.protocol.queue_stats import QUEUE_STATS
from jobws.protocol.request_fields import (
    parse_after,
    parse_children,
    parse_events,
    parse_label,
    parse_sub,
    parse_until_end,
)
from jobws.protocol.request_types import (
    Authenticate,
    Ping,
    Request,
    Subscribe,
    SubscriptionKey,
    SubscriptionRequest,
    Unsubscribe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from typing import TypeVar

    from jobws.protocol.request_types import Room, Sight

    Item = TypeVar("Item")

FORBIDDEN: Final = ItemError("forbidden", "the token does not allow this")
EVERY_QUEUE: Final = "*"
"""In place of a label: every queue that the client may read. No queue has this label."""
# The keys of `{"jobs": [...], …}` that apply to all items of the list.
_COMMON_KEYS: Final = ("sub", "queue", "events", "until", "after", "logs", "children")
# As in protocol.md, §3.
_KNOWN: Final = "subscribe-job, unsubscribe-job, subscribe-queue, unsubscribe-queue, ping, authenticate"


def parse_request(
    event: str, data: object, ref: Ref | None, queues: Container[str], max_items: int, sight: Sight
) -> Request:
    """Return the request in a frame. The items of a list are parsed one at a time, when `items` is iterated: once.

    Args:
        event: The frame's `event`.
        data: The frame's `data`; None if absent.
        ref: The frame's `ref`, which was checked; None if absent.
        queues: The labels that the request may name: with discovery, also those of queues that may appear later.
        max_items: How many items a list may have.
        sight: What the sender may read.

    Raises:
        RequestError: The whole request is wrong. An item of a list that is wrong becomes an `ItemError` in `items`.
    """
    parser = _Parser(queues, max_items, sight)
    match event:
        case "subscribe-job":
            items, many = parser.each(data, parser.subscription)
            return Subscribe(event, items, many, ref)
        case "unsubscribe-job":
            keys, many = parser.each(data, lambda value: parser.to_unsubscribe(_job(value)))
            return Unsubscribe(event, keys, many, ref)
        case "subscribe-queue":
            items, many = parser.each(data, parser.queue_subscription, "queues", "queue")
            return Subscribe(event, items, many, ref)
        case "unsubscribe-queue":
            keys, many = parser.each(data, lambda value: parser.to_unsubscribe(_whole_queue(value)), "queues", "queue")
            return Unsubscribe(event, keys, many, ref)
        case "ping":
            return Ping(ref)
        case _:
            raise RequestError("unknown-event", f"unknown event; this bridge knows {_KNOWN}")


def parse_authenticate(data: object, ref: Ref | None) -> Authenticate:
    """Return the request `authenticate` with this data. Its token is not checked.

    Raises RequestError (`bad-data`) if the data is no object with a token.
    """
    token = data.get("token") if isinstance(data, dict) else None
    if not isinstance(token, str):
        raise RequestError("bad-data", "expected an object with `token`, a string")
    return Authenticate(token, ref)


def parse_rooms(
    data: object, queues: Container[str], max_items: int, sight: Sight
) -> tuple[SubscriptionKey | ItemError, ...]:
    """Return the jobs in `data`, the body of HTTP's `/lookup`, with their `sub`s.

    An ItemError stands for a job of a list that is wrong, or that the sender may not read. The other arguments are
    those of `parse_request`. Raises RequestError if `data` is wrong as a whole, or is one such job and no list.
    """
    parser = _Parser(queues, max_items, sight)
    return tuple(parser.each(data, lambda value: parser.readable(_job(value)))[0])


def may_read(sight: Sight, room: Room) -> bool:
    """Whether a client may subscribe to a room.

    If the room has no queue, it is enough that the client may read the job, or (no job) all jobs, of one queue.
    """
    if room.queue is None:
        return sight.reads_somewhere(room.job_id)
    return sight.may_read(room.queue, room.job_id)


def may_subscribe(sight: Sight, request: SubscriptionRequest) -> bool:
    """Whether a client may have this subscription.

    For the numbers of a queue alone, it needs the right to the queue's counts (without a queue, to those of one queue),
    but no right to jobs. For a job below in a flow, the right to the whole flow is enough.
    """
    if request.is_stats_only:
        return sight.reads_a_queue if request.key.queue is None else sight.reads_queue(request.key.queue)
    below = request.child_of
    return may_read(sight, request.key) if below is None else may_follow(sight, below.top, request.key)


def may_follow(sight: Sight, top: Room, room: Room) -> bool:
    """Whether a client that follows the flow of the job `top` may read this job below it."""
    return sight.reads_children(top.queue or "", top.job_id or "") or may_read(sight, room)


class _Parser:
    """Parses the parts of a request, and checks them against the sender's rights, the bridge's queues and limits.

    The right is checked before the queue is looked for, so a refusal does not tell whether there is such a queue.
    """

    def __init__(self, queues: Container[str], max_items: int, sight: Sight) -> None:
        self._queues = queues
        self._max_items = max_items
        self._sight = sight
        # The common `after` of a list is parsed once, since it may name thousands of queues.
        # What it may name depends on whether `children` are wanted.
        self._after: dict[bool, tuple[object, tuple[Cursor, dict[str, str] | None]]] = {}

    def each(
        self, data: object, parse: Callable[[object], Item], several: str = "jobs", one: str = "jobId"
    ) -> tuple[Iterable[Item | ItemError], bool]:
        """Return the items of `data`, and whether they came as a list.

        The items of a list can be iterated once, and are parsed then.

        `several` is the key of the list if `data` is an object, and `one` the key of what an item is about.

        An error in an item of a list becomes an ItemError. If `data` is one item and no list, its error is raised.
        """
        values = _items_of(data, several, one)
        if values is None:
            return (parse(data),), False
        if len(values) > self._max_items:
            raise RequestError("too-many", f"a list may have {self._max_items} items, this one has {len(values)}")
        return (_item_or_error(value, parse) for value in values), True

    def readable(self, key: SubscriptionKey) -> SubscriptionKey:
        """Return `key` if the sender may read its room (`may_read`), and its queue, if any, is one that may be named.

        Raises RequestError (`forbidden`, `unknown-queue`).
        """
        return self._named(key, may_read(self._sight, key))

    def _named(self, key: SubscriptionKey, allowed: bool) -> SubscriptionKey:
        if not allowed:
            raise RequestError(FORBIDDEN.code, FORBIDDEN.message)
        if key.queue is not None and key.queue not in self._queues:
            raise RequestError("unknown-queue", "this bridge has no `queue` of that label; GET /queues lists them")
        return key

    def to_unsubscribe(self, key: SubscriptionKey) -> SubscriptionKey:
        """Return `key`. Raise RequestError if its queue is unknown, and the sender may learn which queues there are."""
        return self.readable(key) if may_read(self._sight, key) else key

    def subscription(self, value: object) -> SubscriptionRequest:
        key = self.readable(_job(value))
        if not isinstance(value, dict):
            return SubscriptionRequest(key)
        children = parse_children(value, key.queue)
        after, sent = self.after(value.get("after"), key.queue, children=children)
        logs = parse_logs(value.get("logs"), key.queue, self._sight.container(self._queues))
        events, until_end = parse_events(value), parse_until_end(value)
        if until_end and events is not None:
            events |= OUTCOMES
        return SubscriptionRequest(key, events, until_end, after, sent, logs, children=children)

    def after(
        self, value: object, queue: str | None, *, children: bool = False
    ) -> tuple[Cursor | None, dict[str, str] | None]:
        """Return the positions in `value`, and the texts after the `~` of those that have one, by queue.

        `value` has positions by queue, or is one position in `queue`, which then must not be None. If `value` is None,
        both results are None. If no position has a `~`, the second is None. Labels of queues that do not exist, or not
        for the sender, are ignored, so the first may be empty. With `children`, no label is ignored, since the sender
        may follow jobs in queues that it may not see otherwise. Raises RequestError (`bad-after`).
        """
        if value is None:
            return None, None
        if isinstance(value, str):
            if queue is None:
                raise RequestError("bad-after", "a position as `after` needs `queue`; else send an object by queue")
            value = {queue: value}
        if not isinstance(value, dict):
            raise RequestError(
                "bad-after", f"`after` must be an object by queue, or a position, not {type_name(value)}"
            )
        known = self._after.get(children)
        if known is None or known[0] is not value:
            visible = None if children else self._sight.container(self._queues)
            known = self._after[children] = value, _positions(value, visible)
        return known[1]

    def queue_subscription(self, data: object) -> SubscriptionRequest:
        key = _whole_queue(data)
        item = data if isinstance(data, dict) else {}
        events, stats = parse_events(item), QUEUE_STATS in (item.get("events") or ())
        request = SubscriptionRequest(key, events, stats=stats)
        self._named(key, may_subscribe(self._sight, request))
        after, _ = self.after(item.get("after"), key.queue)
        return SubscriptionRequest(key, events, after=after, stats=stats)


def _positions(value: dict[str, object], visible: Container[str] | None) -> tuple[Cursor, dict[str, str] | None]:
    after: Cursor = {}
    sent: dict[str, str] = {}
    for label, text in value.items():
        if visible is None or label in visible:
            after[label], suffix = parse_after(text)
            if suffix is not None:
                sent[label] = suffix
    return after, sent or None


def _job(value: object) -> SubscriptionKey:
    if not isinstance(value, dict):
        return SubscriptionKey(None, parse_job_id(value))
    if "jobId" not in value:
        raise RequestError("bad-data", "expected an object with `jobId`, this one has none")
    queue = None if value.get("queue") is None else parse_label(value["queue"])
    return SubscriptionKey(queue, parse_job_id(value["jobId"]), parse_sub(value))


def _whole_queue(data: object) -> SubscriptionKey:
    item = data if isinstance(data, dict) else {"queue": data}
    label = parse_label(item.get("queue"))
    return SubscriptionKey(None if label == EVERY_QUEUE else label, None, parse_sub(item))


def _items_of(data: object, several: str, one: str) -> list[object] | None:
    """Return `data` if it is a list, or its list `several`, each item with the `_COMMON_KEYS` of `data`. Else None.

    A key of the item itself is kept. An item that is no object becomes one with the key `one`.
    """
    if isinstance(data, list):
        return data
    if not isinstance(data, dict) or several not in data:
        return None
    items = data[several]
    if not isinstance(items, list):
        raise RequestError("bad-data", f"`{several}` must be a list, not {type_name(items)}")
    common = {key: data[key] for key in _COMMON_KEYS if key in data}
    if "after" in common:
        common["after"] = _without_suffix(common["after"])
    return [{**common, **(item if isinstance(item, dict) else {one: item})} for item in items]


def _without_suffix(after: object) -> object:
    """Return the `after` that all jobs of a request share, without the text after each `~`: that is about one job."""
    if isinstance(after, str):
        return after.partition("~")[0]
    if isinstance(after, dict):
        return {label: _without_suffix(text) if isinstance(text, str) else text for label, text in after.items()}
    return after


def _item_or_error(value: object, parse: Callable[[object], Item]) -> Item | ItemError:
    try:
        return parse(value)
    except RequestError as error:
        return ItemError(error.code, error.message)
