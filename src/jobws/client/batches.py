"""Lists of subscriptions as messages that keep the bridge's limits. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from jobws.protocol.messages import DEFAULT_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    from jobws.client.event import JsonObject
    from jobws.protocol.messages import Cursor, Limits, Room

    Member = TypeVar("Member")

# What a message holds besides its items.
_ENVELOPE_BYTES: Final = 128
# Above this many names, a subscription asks for all events (protocol.md, S4), and the client picks.
_MAX_EVENTS: Final = 32


def subscription(
    room: Room, events: frozenset[str] | None, after: Cursor | None, logs: bool | JsonObject = False
) -> bytes:
    """One item of `subscribe-job`."""
    item = _named(room)
    if events != DEFAULT_EVENTS:
        item["events"] = ["*"] if events is None or len(events) > _MAX_EVENTS else sorted(events)
    if after is not None:
        item["after"] = after
    if logs:
        item["logs"] = logs
    return msgspec.json.encode(item)


def name(room: Room) -> bytes:
    """One item of `unsubscribe-job`."""
    return msgspec.json.encode(_named(room))


def _named(room: Room) -> dict[str, object]:
    return {"jobId": room.job_id} if room.queue is None else {"jobId": room.job_id, "queue": room.queue}


def split(items: Iterable[tuple[Member, bytes]], limits: Limits) -> Iterator[list[tuple[Member, bytes]]]:
    """The items in as many lists as the limits ask for."""
    batch: list[tuple[Member, bytes]] = []
    size = _ENVELOPE_BYTES
    for item in items:
        grown = size + len(item[1]) + 1
        if batch and (len(batch) >= limits.max_subscriptions or grown > limits.max_message):
            yield batch
            batch, grown = [], _ENVELOPE_BYTES + len(item[1]) + 1
        batch.append(item)
        size = grown
    if batch:
        yield batch


def message(event: str, items: Iterable[bytes], ref: int, **common: str) -> str:
    """A request for all the items."""
    data = {**common, "jobs": [Raw(item) for item in items]}
    return msgspec.json.encode({"event": event, "ref": ref, "data": data}).decode()
