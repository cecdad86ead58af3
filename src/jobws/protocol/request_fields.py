"""Checks single fields of requests: names, labels, positions, and the events that a client chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.errors import RequestError
from jobws.protocol.identifiers import MAX_SAFE_INTEGER, is_text, parse_position, type_name
from jobws.protocol.request_types import DEFAULT_EVENTS

if TYPE_CHECKING:
    from jobws.protocol.messages import Ref, Sub

MAX_EVENTS: Final = 32
MAX_EVENT_BYTES: Final = 64
MAX_REF_CHARACTERS: Final = 128
_NAME: Final = f"must be a string of at most {MAX_REF_CHARACTERS} characters or an integer within ±(2^53-1)"


def parse_ref(value: object) -> Ref | None:
    """Return the `ref` of a request, or None if the request has none.

    Raises RequestError (`bad-ref`) if `value` cannot be one. The answer then has no `ref`.
    """
    return _name(value, "bad-ref", "`ref`")


def _name(value: object, code: str, key: str) -> Ref | None:
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= MAX_REF_CHARACTERS and is_text(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_SAFE_INTEGER:
        return value
    raise RequestError(code, f"{key} {_NAME}")


def parse_label(value: object) -> str:
    """Return a queue's label. Raises RequestError (`bad-queue`) if it is no string."""
    if not isinstance(value, str):
        raise RequestError("bad-queue", f"`queue` must be a label, not {type_name(value)}")
    return value


def parse_sub(item: dict[str, object]) -> Sub | None:
    """Return the name in the item's `sub`; None if it has none. Raises RequestError (`bad-sub`)."""
    return _name(item.get("sub"), "bad-sub", "`sub`")


def parse_after(value: object) -> tuple[str, str | None]:
    """Return the stream id of a position, and the text after its `~`, or None. Raises RequestError (`bad-after`)."""
    found = parse_position(value) if isinstance(value, str) else None
    if found is None:
        raise RequestError("bad-after", '`after` must hold positions such as "1795435729358-0"')
    return found


def parse_events(item: dict[str, object]) -> frozenset[str] | None:
    """Return the names in the item's `events`: outcomes if the item has none, None (all) if `*` is one of them.

    Raises RequestError (`bad-events`).
    """
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


def parse_children(item: dict[str, object], queue: str | None) -> bool:
    """Return whether the item has `"children": true`. `queue` is that of the item.

    Raises RequestError (`bad-children`) for another value than a boolean, without `queue`, and together with `logs`.
    """
    children = item.get("children")
    if children is None or children is False:
        return False
    if children is not True:
        raise RequestError("bad-children", f"`children` must be true or false, not {type_name(children)}")
    if queue is None or item.get("logs"):
        raise RequestError("bad-children", "`children` needs `queue`, and goes without `logs`")
    return True


def parse_until_end(item: dict[str, object]) -> bool:
    """Return whether the item has `"until": "end"`. Raises RequestError (`bad-until`) if it has another `until`."""
    until = item.get("until")
    if until is None:
        return False
    if until != "end":
        raise RequestError("bad-until", '`until` can only be "end"')
    return True
