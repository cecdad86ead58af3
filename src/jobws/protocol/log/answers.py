"""The bridge's messages on `/logs` that differ from those on `/ws`. The frame of a log line is made in `records`."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType

from jobws.protocol.messages import Ref


class LogAckData(Struct, frozen=True, omit_defaults=True):
    """The data of an ack.

    `request` names the request. `after` is where the subscription begins. `gap` says that lines before `after` may be
    missing. `left`, in the ack of `unsubscribe-logs`, says whether there was a subscription.
    """

    request: str
    after: str | UnsetType = UNSET
    gap: bool | UnsetType = UNSET
    left: bool | UnsetType = UNSET


class LogAck(Struct, tag_field="event", tag="ack", frozen=True, omit_defaults=True):
    """The answer to a request that succeeded."""

    data: LogAckData
    ref: Ref | UnsetType = UNSET


class LogPongData(Struct, frozen=True):
    """`after` is the stream id up to which every line of the subscription was sent, or reported as dropped.

    `after` is None if there is no subscription.
    """

    after: str | None


class LogPong(Struct, tag_field="event", tag="pong", frozen=True, omit_defaults=True):
    """The answer to `ping` on `/logs`."""

    data: LogPongData
    ref: Ref | UnsetType = UNSET


class DroppedData(Struct, frozen=True, omit_defaults=True):
    """How many lines are missing at this place. `approximate` says that `count` is not exact."""

    count: int
    approximate: bool | UnsetType = UNSET


class Dropped(Struct, tag_field="event", tag="dropped", frozen=True):
    """Some lines of the subscription were not sent."""

    data: DroppedData


LogAnswer: TypeAlias = LogAck | LogPong | Dropped
