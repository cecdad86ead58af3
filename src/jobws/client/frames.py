"""What the bridge sends, as the client reads it: frames, and the events that are handed to the user."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from jobws.errors import UnreachableError
from jobws.protocol.codec import decode_as
from jobws.protocol.messages import Cursor, Evicted, ItemError, Sub

JsonObject: TypeAlias = dict[str, object]


class Event(Struct, frozen=True):
    """What happened to a job.

    Attributes:
        event: BullMQ's name of the event (protocol.md, E2), or `job-log` (E8). Two names are the client's own. `gap`:
            events of the jobs in `data["jobs"]` (None: of any job of `data["queue"]`) may be missing. `unknown`: there
            is no such job.
        data: What BullMQ says of it, plus `queue`.
        id: The position after the event (protocol.md, P3); do not compare it or take it apart. None: it has none.
        replayed: Whether it was read back later than it happened.
    """

    event: str
    data: JsonObject = {}
    id: str | None = None
    replayed: bool = False


class Frame(Struct, frozen=True):
    """One message of the bridge, as it comes."""

    event: str
    data: object = None
    id: str | None = None
    sub: Sub | None = None
    ref: str | int | None = None
    replayed: bool = False


class Result(Struct, rename="camel", frozen=True):
    """What became of one subscription: snapshots of the jobs of that id, or an error (protocol.md, P5).

    `unknown_queue`: the queue that it names is not there yet.
    """

    jobs: list[JsonObject] = []
    after: Cursor = {}
    unknown: bool = False
    unknown_queue: bool = False
    gap: bool = False
    error: ItemError | None = None


class AckData(Struct, frozen=True):
    """The answer to a list of subscriptions."""

    results: list[Result] = []
    after: Cursor = {}
    evicted: list[Evicted] = []


def decode_frame(text: str) -> Frame:
    """One message of the bridge.

    Raises:
        UnreachableError: It is no frame of jobws.v1.
    """
    try:
        return decode_as(text, Frame)
    except msgspec.DecodeError as error:
        raise not_ours(error) from None


def not_ours(error: Exception) -> UnreachableError:
    """What to raise when a message makes no sense."""
    return UnreachableError(f"what answers does not speak jobws.v1: {error}")
