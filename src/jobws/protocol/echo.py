"""Makes the parts of a frame that repeat what the client sent: a `ref`, a `sub`, the key of a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from jobws.protocol.messages import Evicted

if TYPE_CHECKING:
    from jobws.protocol.messages import Ref, Sub
    from jobws.protocol.request_types import SubscriptionKey


def echoed(ref: Ref | None) -> Ref | UnsetType:
    """Return the `ref` for the answer to a request with this `ref`. It is absent if the request had none."""
    return UNSET if ref is None else ref


def named(sub: Sub | None) -> Sub | UnsetType:
    """Return the `sub` for a frame of a subscription with this name. It is absent if the subscription has no name."""
    return UNSET if sub is None else sub


def name_evicted(key: SubscriptionKey) -> Evicted:
    """Return the key of a subscription in the form that an ack's `evicted` contains."""
    return Evicted(
        sub=named(key.sub),
        job_id=UNSET if key.job_id is None else key.job_id,
        queue=UNSET if key.queue is None else key.queue,
    )
