"""The parts of a frame that repeat what the client sent: a `ref`, a `sub`, the identity of a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from jobws.protocol.messages import Evicted

if TYPE_CHECKING:
    from jobws.protocol.messages import Ref, Sub
    from jobws.protocol.request_types import Identity


def echoed(ref: Ref | None) -> Ref | UnsetType:
    """Return the `ref` for the answer to a request with this `ref`. It is absent if the request had none."""
    return UNSET if ref is None else ref


def named(sub: Sub | None) -> Sub | UnsetType:
    """Return the `sub` for a frame of a subscription with this name. It is absent if the subscription has no name."""
    return UNSET if sub is None else sub


def name_evicted(identity: Identity) -> Evicted:
    """Return the identity of a subscription in the form that an ack's `evicted` contains."""
    return Evicted(
        sub=named(identity.sub),
        job_id=UNSET if identity.job_id is None else identity.job_id,
        queue=UNSET if identity.queue is None else identity.queue,
    )
