"""Makes the token that a client gets with the job that it submits: the token allows reading this one job."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from jobws.access.identity import MAX_SUB_CHARACTERS
from jobws.tokens import claims_of, encode, job_scope

if TYPE_CHECKING:
    from jobws.access.identity import Identity
    from jobws.server.authentication import Sign
    from jobws.server.settings import Settings


def job_token(sign: Sign, settings: Settings, identity: Identity, queue: str, job_id: str) -> str:
    """Return a token for one job.

    Args:
        sign: Signs the token.
        settings: What the token must say, and how long it is valid.
        identity: Who submits the job. The new token expires no later than theirs.
        queue: The label of the job's queue.
        job_id: The job.
    """
    sub = f"{identity.sub or ''}#{encode(queue)}/{encode(job_id)}"
    claims = claims_of(
        job_scope(queue, job_id),
        time.time(),
        sub=sub if len(sub) <= MAX_SUB_CHARACTERS else hashlib.sha256(sub.encode()).hexdigest(),
        seconds=settings.mint_seconds,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )
    if identity.expires_ms is not None:
        claims["exp"] = min(claims["exp"], identity.expires_ms // 1000)
    return sign({settings.jwt_scope_claim if name == "scope" else name: value for name, value in claims.items()})
