"""Bridges that require tokens, and tokens for them."""

from __future__ import annotations

import time
from functools import partial

from tests.support.bridge import live_bridge
from tests.support.signing import SECRET, signed_token

keyed_bridge = partial(live_bridge, jwt_secret=SECRET.decode())


def jwt(scope: str, *, seconds: float = 300, key: object = SECRET, **claims: object) -> str:
    """Return a token that expires in `seconds`."""
    return signed_token({"alg": "HS256"}, {"scope": scope, "exp": int(time.time() + seconds), **claims}, key)


def bearer(scope: str, *, seconds: float = 300, **claims: object) -> dict[str, str]:
    """Return the header that carries such a token."""
    return {"Authorization": f"Bearer {jwt(scope, seconds=seconds, **claims)}"}
