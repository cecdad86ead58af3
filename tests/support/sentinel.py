"""Real servers with Sentinels, on loopback: a master, a replica and three Sentinels."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from jobws.embedded import EmbeddedRedis, find_redis_server
from tests.support import eventually
from tests.support.redis import Redis

if TYPE_CHECKING:
    import redis

MASTER = "jobs"
SENTINELS = 3
# The password of `USERS`, which all servers and Sentinels have. Tests use the default user, with another password on
# each.
PASSWORD = "p/w@1"
QUOTED = "p%2Fw%401"
USERS = tuple(f"user {name} on >{PASSWORD} ~* &* +@all" for name in ("app", "replica", "sentinel"))


class SentinelSet:
    """The servers. Use this as a context manager.

    The start takes some seconds, since the Sentinels look for each other.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._binary = Path()

    def __enter__(self) -> Self:
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="jobws-sentinel-"))
        # A Redis server that is started under this name is a Sentinel.
        self._binary = Path(directory) / "redis-sentinel"
        self._binary.symlink_to(find_redis_server())
        self.master = self._node()
        self.replica = self._node()
        self.replica.client.replicaof("127.0.0.1", self.master.server.port)
        self.sentinels = [self.sentinel() for _ in range(SENTINELS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _node(self) -> Redis:
        config = (*USERS, "masteruser replica", f"masterauth {PASSWORD}", "repl-diskless-sync-delay 0")
        return self._stack.enter_context(Redis(self._stack.enter_context(EmbeddedRedis(config))))

    def sentinel(self, user: str = "sentinel") -> Redis:
        """Start a further Sentinel, whose configuration names the first master."""
        port = self.master.server.port
        config = (
            *USERS,
            f"sentinel monitor {MASTER} 127.0.0.1 {port} 2",
            f"sentinel auth-user {MASTER} {user}",
            f"sentinel auth-pass {MASTER} {PASSWORD}",
            "sentinel sentinel-user sentinel",
            f"sentinel sentinel-pass {PASSWORD}",
            f"sentinel down-after-milliseconds {MASTER} 500",
            f"sentinel failover-timeout {MASTER} 2000",
        )
        return self._stack.enter_context(Redis(self._stack.enter_context(EmbeddedRedis(config, self._binary))))

    def url(self, *sentinels: Redis, name: str = MASTER) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.server.port}" for sentinel in sentinels or self.sentinels)
        return f"redis+sentinel://app:{QUOTED}@{places}/{name}/0?sentinel_username=app&sentinel_password={QUOTED}"

    async def complete(self) -> None:
        """Wait until every Sentinel knows the replica and the other Sentinels, so that they can fail over."""
        await eventually(lambda: all(self._is_complete(sentinel.client) for sentinel in self.sentinels))

    def _is_complete(self, client: redis.Redis) -> bool:
        state: Any = client.sentinel_master(MASTER)
        replicas: Any = client.sentinel_slaves(MASTER)
        return (
            state["num-other-sentinels"] == SENTINELS - 1
            and len(replicas) == 1
            and replicas[0]["master-link-status"] == "ok"
        )

    def stop_master(self) -> None:
        """End the master as a crash does."""
        self.master.server.kill()

    def isolate_master(self) -> None:
        """Cut the master off from its Sentinels and its replica. It stays a master, and serves all others."""
        for name in ("sentinel", "replica"):
            self.master.client.acl_setuser(name, enabled=False)
            self.master.client.execute_command("CLIENT", "KILL", "USER", name)  # type: ignore[no-untyped-call]

    async def failed_over(self) -> None:
        """Wait until all Sentinels name the replica."""
        port = self.replica.server.port
        await eventually(lambda: all(self._named_port(sentinel.client) == port for sentinel in self.sentinels))

    def _named_port(self, client: redis.Redis) -> int:
        named: Any = client.sentinel_get_master_addr_by_name(MASTER)
        return int(named[1])
