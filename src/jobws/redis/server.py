"""Decides which servers jobws can read, from what they report about themselves. Pure."""

from __future__ import annotations

from typing import Final

import hiredis

from jobws.errors import RedisRefusedError

# Snapshots are read with ZMSCORE, which came with Redis 6.2.
OLDEST_REDIS: Final = (6, 2)
HINT: Final = "--redis redis://:password@host:port/db"
"""Tells users where to put a password."""
UNKNOWN_SERVER: Final = "Redis of unknown version"


def check_server(info: object, address: str) -> str:
    """Check that jobws can read a server. Return its name and version, such as `Redis 7.0.15` or `Valkey 9.1.2`.

    If the reply is an error other than `NOAUTH`, as when an ACL forbids `INFO`, the server is not checked, and the
    result is `UNKNOWN_SERVER`.

    Args:
        info: The reply to `INFO server`.
        address: The server's address, for error messages.

    Raises:
        RedisRefusedError: The server is too old, is a cluster or a Sentinel, or requires a password (`NOAUTH`).
    """
    if isinstance(info, hiredis.ReplyError) and str(info).startswith("NOAUTH"):
        raise RedisRefusedError(f"Redis at {address} wants a password: {HINT}")
    if isinstance(info, hiredis.ReplyError) or not isinstance(info, bytes):
        return UNKNOWN_SERVER
    lines = dict(line.split(":", 1) for line in info.decode(errors="replace").split("\r\n") if ":" in line)
    # Valkey reports `server_mode` instead of `redis_mode`. Its `redis_version` is the version of Redis that it is
    # compatible with.
    mode = lines.get("redis_mode", lines.get("server_mode"))
    version = lines.get("redis_version", "")
    if mode == "cluster":
        raise RedisRefusedError(f"Redis at {address} is a cluster, which jobws cannot read yet; use a standalone Redis")
    if mode == "sentinel":
        raise RedisRefusedError(
            f"{address} is a Sentinel, which holds no queues: --redis redis+sentinel://host:port/master-name[/db]"
        )
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_REDIS:
        raise RedisRefusedError(f"Redis {version} at {address} is too old; jobws needs 6.2 or newer")
    if "valkey_version" in lines:
        return f"Valkey {lines['valkey_version']}"
    return f"Redis {version}" if version else UNKNOWN_SERVER
