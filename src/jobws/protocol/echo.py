"""What a frame repeats of what its client said: a `ref`, a `sub`, what it calls a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from jobws.protocol.messages import Evicted

if TYPE_CHECKING:
    from jobws.protocol.messages import Ref, Sub
    from jobws.protocol.request_types import Identity


def echoed(ref: Ref | None) -> Ref | UnsetType:
    """The `ref` of an answer to a request that had this one, or none."""
    return UNSET if ref is None else ref


def named(sub: Sub | None) -> Sub | UnsetType:
    """The `sub` of a frame of a subscription that has this one, or none."""
    return UNSET if sub is None else sub


def name_evicted(identity: Identity) -> Evicted:
    """`identity` in the words of the wire."""
    return Evicted(
        sub=named(identity.sub),
        job_id=UNSET if identity.job_id is None else identity.job_id,
        queue=UNSET if identity.queue is None else identity.queue,
    )
