"""TLS: sockets that have already taken bytes from the kernel, certificates, and Sentinels."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import anyio.lowlevel
import pytest

from jobws.client.rest import submit
from jobws.embedded import EmbeddedRedis, free_port
from jobws.errors import ConfigurationError, RedisRefusedError, RedisUnavailableError
from jobws.redis.connection import Connection, RedisTarget
from tests.support import EVENTUALLY_SECONDS, require
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.redis import Redis
from tests.support.servers import tls_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

PASSWORD = "secret"
USER = f"user app on >{PASSWORD} ~* &* +@all"
LARGE = bytes(range(256)) * 40_000


class Server(NamedTuple):
    """A Redis with a second port for TLS, and its certificate."""

    redis: Redis
    port: int
    certificate: Path

    def url(self, options: str = "", host: str = "127.0.0.1") -> str:
        return f"rediss://app:{PASSWORD}@{host}:{self.port}/0?{options or f'ssl_ca_certs={self.certificate}'}"


class Servers:
    """Makes servers that share one certificate."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self.certificate = directory / "certificate.pem"
        key = directory / "key.pem"
        subprocess.run(
            [
                *(require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-nodes", "-keyout", key, "-out", self.certificate, "-days", "2", "-subj", "/CN=jobws test"),
                *("-addext", "subjectAltName=IP:127.0.0.1"),
            ],
            check=True,
            capture_output=True,
        )
        self._config = (
            *(USER, f"tls-cert-file {self.certificate}", f"tls-key-file {key}"),
            *(f"tls-ca-cert-file {self.certificate}", "tls-auth-clients no", "tls-replication yes"),
        )

    def make(self, *config: str, binary: Path | None = None) -> Server:
        port = free_port()
        server = self._stack.enter_context(
            EmbeddedRedis((f"tls-port {port}", *self._config, *config), binary or tls_server())
        )
        return Server(self._stack.enter_context(Redis(server)), port, self.certificate)

    def sentinel(self, master: Server) -> Server:
        binary = self._directory / "redis-sentinel"
        binary.symlink_to(tls_server())
        monitor = f"sentinel monitor jobs 127.0.0.1 {master.port} 1"
        login = ("sentinel auth-user jobs app", f"sentinel auth-pass jobs {PASSWORD}")
        return self.make(monitor, *login, binary=binary)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("tls"), stack)


@pytest.fixture(scope="module")
def server(servers: Servers) -> Server:
    return servers.make()


both_backends = pytest.mark.parametrize("anyio_backend", ["trio", "asyncio"])


@both_backends
async def test_many_megabytes_come_and_go_whole(server: Server) -> None:
    connection = await Connection.open(RedisTarget(server.url()))
    commands = (("SET", "large", LARGE), ("GET", "large"), ("GET", "large"), ("PING",))
    with anyio.fail_after(EVENTUALLY_SECONDS):
        assert await connection.execute(*commands, timeout_seconds=EVENTUALLY_SECONDS) == [b"OK", LARGE, LARGE, b"PONG"]
    connection.close()


@both_backends
@pytest.mark.parametrize("size", [1, 16_384, 100_000])
@pytest.mark.parametrize("read_bytes", [1000, 65_536])
async def test_a_reply_that_is_waited_for_comes_whole(server: Server, size: int, read_bytes: int) -> None:
    """After a read of less than a record of 16 KiB, OpenSSL has the rest, and the socket does not become readable."""
    connection = await Connection.open(RedisTarget(server.url()), read_bytes)
    async with anyio.create_task_group() as tasks:
        replies: list[object] = []

        async def wait() -> None:
            replies.append(await connection.ask("BLPOP", "list", 0, timeout_seconds=EVENTUALLY_SECONDS))

        tasks.start_soon(wait)
        while server.redis.client.info("clients")["blocked_clients"] == 0:
            await anyio.sleep(0.01)
        server.redis.client.rpush("list", b"x" * size)
    assert replies == [[b"list", b"x" * size]]
    assert await connection.ask("PING", timeout_seconds=5) == b"PONG"
    connection.close()


async def test_certificates_are_checked(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RedisRefusedError, match=r"not trusted \(self-signed.*\?ssl_ca_certs=FILE") as caught:
        await Connection.open(RedisTarget(server.url("client_name=x")))
    assert PASSWORD not in str(caught.value)
    with pytest.raises(RedisRefusedError, match=r"not trusted .*localhost"):
        await Connection.open(RedisTarget(server.url(host="localhost")))
    with pytest.raises(ConfigurationError, match=r"cannot read ssl_ca_certs of the Redis URL, .*: No such file"):
        RedisTarget(server.url(f"ssl_ca_certs={tmp_path}/missing.pem"))
    (await Connection.open(RedisTarget(server.url("ssl_cert_reqs=none&ssl_check_hostname=false")))).close()


async def test_a_bridge_over_tls(server: Server) -> None:
    async with live_bridge(server.url(), queues=("http",)) as live, raw_client(live.url) as client:
        job_id = (await submit(live.url, "http", 1)).job_id
        answer = await client.ask("subscribe-job", job_id)
        assert answer["data"]["jobs"][0]["state"] == "waiting"
        server.redis.add_event("http", "completed", job_id, returnvalue='"' + "x" * 1_000_000 + '"')
        assert len((await client.receive())["data"]["returnvalue"]) == 1_000_000


async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the Sentinels answer. On a machine with 15 busy processes, 3 s are not always enough for them."""
    with anyio.fail_after(EVENTUALLY_SECONDS):
        while True:
            try:
                return await ask()
            except RedisUnavailableError:
                await anyio.lowlevel.checkpoint()


async def test_sentinels_and_master_over_tls(servers: Servers, server: Server) -> None:
    sentinel = servers.sentinel(server)
    own = f"sentinel_username=app&sentinel_password={PASSWORD}"
    url = f"rediss+sentinel://app:{PASSWORD}@127.0.0.1:{sentinel.port}/jobs?{own}"
    with pytest.raises(RedisRefusedError, match="certificate of the Sentinel"):
        await patiently(RedisTarget(url).locate)
    target = RedisTarget(f"{url}&ssl_ca_certs={servers.certificate}")
    connection = await patiently(partial(Connection.open, target))
    assert connection.master == ("127.0.0.1", server.port)
    assert await connection.ask("PING", timeout_seconds=5) == b"PONG"
    connection.close()
