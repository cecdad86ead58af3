"""Reads the body of `POST /lookup`, a large one in short steps. Nothing that is too large for a valid one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.lowlevel
import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from jobws.protocol.codec import LENIENT_CHARACTERS, bad_json, decode_json, decode_list, decode_part
from jobws.protocol.nesting import check_levels
from jobws.protocol.requests import parse_rooms
from jobws.server.http.request import SUBJECT
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Container

    from jobws.protocol.messages import ItemError
    from jobws.protocol.request_types import Sight, SubscriptionKey


class _Parts(Struct, rename="camel"):
    """The keys that have a meaning, with values that are not read yet."""

    jobs: Raw | UnsetType = UNSET
    job_id: Raw | UnsetType = UNSET
    queue: Raw | UnsetType = UNSET
    sub: Raw | UnsetType = UNSET


async def read_rooms(
    text: str, queues: Container[str], most: int, sight: Sight
) -> tuple[SubscriptionKey | ItemError, ...]:
    """Return the jobs that the body names, as `parse_rooms` does.

    Args:
        text: The body.
        queues: The labels that the request may name: with discovery, also those of queues that may appear later.
        most: How many jobs it may name.
        sight: What the sender may read.

    Raises:
        RequestError: `bad-json` or `too-deep`, or the body is wrong as a whole.
    """
    if len(text) <= LENIENT_CHARACTERS:
        return parse_rooms(decode_json(text, SUBJECT), queues, most, sight)
    common: dict[str, object] = {}
    name, start = SUBJECT, text.lstrip(" \t\r\n")[:1]
    if start == "{":
        check_levels(text)
        await anyio.lowlevel.checkpoint()
        parts = _parts(text)
        jobs = parts.pop("jobs") if parts.get("jobs", b"").startswith(b"[") else None
        common = {key: decode_part(value, SUBJECT) for key, value in parts.items()}
        if jobs is None:
            return parse_rooms(common, queues, most, sight)
        name, text = "`jobs`", jobs.decode()
        await anyio.lowlevel.checkpoint()
    elif start != "[":
        return parse_rooms(decode_json(text, SUBJECT), queues, most, sight)
    rooms: list[SubscriptionKey | ItemError] = []
    turn = Turn()
    for item in decode_list(text, name, most, "items"):
        rooms += parse_rooms({**common, "jobs": [decode_part(item.encode(), SUBJECT)]}, queues, most, sight)
        await turn.pause()
    return tuple(rooms)


def _parts(text: str) -> dict[str, bytes]:
    """Return the JSON texts of an object's keys that have a meaning, without those that are absent.

    Raises RequestError (`bad-json`) if `text` is no JSON object.
    """
    try:
        parts = msgspec.json.decode(text, type=_Parts)
    except msgspec.DecodeError as error:
        raise bad_json(text, SUBJECT, error) from None
    values = zip(_Parts.__struct_encode_fields__, msgspec.structs.astuple(parts), strict=True)
    return {key: bytes(value) for key, value in values if isinstance(value, Raw)}
