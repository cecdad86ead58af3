"""The types of the bridge's frames after decoding, and of the events that the client yields to its user."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from jobws.errors import UnreachableError
from jobws.protocol.codec import decode_as
from jobws.protocol.messages import Cursor, Evicted, ItemError, Sub

JsonObject: TypeAlias = dict[str, object]


class Event(Struct, frozen=True):
    """An event of a job, which the client yields to its user.

    Attributes:
        event: BullMQ's name of the event (protocol.md, E2), `job-log` (E8), `gap` or `unknown`. `gap` says that events
            may be missing, of the jobs in `data["jobs"]`, or of any job of `data["queue"]` if `jobs` is None. `unknown`
            says that the job does not exist.
        data: The event's fields in BullMQ, plus `queue`, the label of the job's queue.
        id: The position after the event (protocol.md, P3), an opaque string. None if the event has no position.
        replayed: Whether the event is of the past and was read from Redis again.
        parent: `queue` and `jobId` of the job above, in a flow (protocol.md, S13). None for the watched job itself.
    """

    event: str
    data: JsonObject = {}
    id: str | None = None
    replayed: bool = False
    parent: JsonObject | None = None


class Frame(Struct, frozen=True):
    """One message of the bridge. `data` is decoded JSON, which is not yet converted to a type of its own."""

    event: str
    data: object = None
    id: str | None = None
    sub: Sub | None = None
    ref: str | int | None = None
    replayed: bool = False
    parent: JsonObject | None = None


class Result(Struct, rename="camel", frozen=True):
    """The answer to one subscription: a snapshot from each queue that has the job, or an error (protocol.md, P5).

    `after` is the position, by queue, from which events follow. `unknown` says that no queue has the job,
    `unknown_queue` that the queue of the subscription does not exist yet, and `gap` that events may be missing.
    """

    jobs: list[JsonObject] = []
    after: Cursor = {}
    unknown: bool = False
    unknown_queue: bool = False
    gap: bool = False
    error: ItemError | None = None


class AckData(Struct, frozen=True):
    """The answer to a list of subscriptions. `after` is common to all. `evicted`: older ones, ended to make room."""

    results: list[Result] = []
    after: Cursor = {}
    evicted: list[Evicted] = []


def decode_frame(text: str) -> Frame:
    """Decode one message of the bridge. Raises UnreachableError if it is not a frame of jobws.v1."""
    try:
        return decode_as(text, Frame)
    except msgspec.DecodeError as error:
        raise not_ours(error) from None


def not_ours(error: Exception) -> UnreachableError:
    """Return the exception to raise when a message cannot be decoded."""
    return UnreachableError(f"what answers does not speak jobws.v1: {error}")
