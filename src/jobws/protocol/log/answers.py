"""What the bridge says on `/logs` that is not as on `/ws`; a line itself is a frame of `records`."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType

from jobws.protocol.messages import Ref


class LogAckData(Struct, frozen=True, omit_defaults=True):
    """Which request is answered. `after` is where the subscription begins; `gap`: lines before it may be missing."""

    request: str
    after: str | UnsetType = UNSET
    gap: bool | UnsetType = UNSET
    left: bool | UnsetType = UNSET


class LogAck(Struct, tag_field="event", tag="ack", frozen=True, omit_defaults=True):
    """The one answer to a request that was understood."""

    data: LogAckData
    ref: Ref | UnsetType = UNSET


class LogPongData(Struct, frozen=True):
    """`after`: every line of the subscription up to there was sent, or told as dropped; null: there is none."""

    after: str | None


class LogPong(Struct, tag_field="event", tag="pong", frozen=True, omit_defaults=True):
    """The answer to `ping` on `/logs`."""

    data: LogPongData
    ref: Ref | UnsetType = UNSET


class DroppedData(Struct, frozen=True, omit_defaults=True):
    """`count` lines are missing here. `approximate`: the number is not exact."""

    count: int
    approximate: bool | UnsetType = UNSET


class Dropped(Struct, tag_field="event", tag="dropped", frozen=True):
    """Lines of the subscription were not sent."""

    data: DroppedData


LogAnswer: TypeAlias = LogAck | LogPong | Dropped
