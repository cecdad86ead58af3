"""Bridges that require tokens, and tokens for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from tests.support.bridge import Live, live_bridge
from tests.support.signing import SECRET, signed_token

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.support.bridge import Live

# Longer than the tests take: several modules make tokens when they are collected, and use them in their last test.
VALID_SECONDS: Final = 86_400


def keyed_bridge(redis_url: str, **settings: Any) -> AbstractAsyncContextManager[Live]:
    """A bridge that verifies the tokens of `jwt`."""
    return live_bridge(redis_url, **{"jwt_secret": SECRET.decode(), **settings})


def jwt(scope: str, *, seconds: float = VALID_SECONDS, key: object = SECRET, **claims: object) -> str:
    """Return a token that expires in `seconds`; a day if they are not given."""
    return signed_token({"alg": "HS256"}, {"scope": scope, "exp": time.time() + seconds, **claims}, key)


def bearer(scope: str, *, seconds: float = VALID_SECONDS, **claims: object) -> dict[str, str]:
    """Return the header that carries such a token."""
    return {"Authorization": f"Bearer {jwt(scope, seconds=seconds, **claims)}"}


def replace_file(file: Path, content: bytes | str) -> None:
    """Replace a file in one step, since a bridge may read it at any time."""
    new = file.with_name(f"{file.name}.new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.replace(file)


def seconds_left(live: Live, client: object) -> float:
    """How long the token of a client of the bridge is still valid; 0 if it has none."""
    members = live.bridge._admission._members
    identity = next(member.identity for each, member in members.items() if each is client)
    return 0 if identity is None or identity.expires_ms is None else identity.expires_ms / 1000 - time.time()
