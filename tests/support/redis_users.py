"""Users of Redis that have exactly the rights that docs/deployment.md names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.documents import block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis


@contextmanager
def user(redis: Redis, *rules: str) -> Iterator[str]:
    """Make the user of the docs with some of its rules, and yield its URL.

    Fail if Redis refuses a command of this user.
    """
    rights = [right for rule in rules for right in block("", f"ACL SETUSER jobws {rule}").split()[3:]]
    if redis.client.info()["redis_version"].startswith("7.0."):
        rights.remove("+client|setinfo")
    redis.client.execute_command("ACL", "SETUSER", "jobws", "reset", *rights)  # type: ignore[no-untyped-call]
    redis.client.acl_log_reset()
    try:
        yield f"redis://jobws:secret@127.0.0.1:{redis.server.port}"
        refused = {entry["object"] for entry in redis.client.acl_log() if entry["username"] == "jobws"}
        # Redis 6.2 refuses a CLIENT command with which BullMQ's library describes itself, and the library goes on.
        assert refused <= ({"client"} if redis.client.info()["redis_version"].startswith("6.") else set())
    finally:
        redis.client.acl_deluser("jobws")
