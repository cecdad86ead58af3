"""Reading streams: without a thread for each socket, across restarts of Redis, and after crashes of readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from jobws.bullmq.keys import parse_queue
from jobws.bullmq.payloads import Payloads
from jobws.bullmq.reading.backfill import MAX_COUNT
from jobws.bullmq.reading.read_state import ReadState
from jobws.bullmq.reading.reader import StreamReader
from jobws.errors import ConfigurationError, RedisRefusedError, RedisUnavailableError
from jobws.hub.jobs.fanout import Fanout
from jobws.hub.jobs.rooms import Rooms
from jobws.privacy.rules import NO_RULES
from jobws.redis.connection import Connection, RedisTarget
from tests.support import eventually
from tests.support.fanout import SILENT, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobws.redis.commands import Entry
    from tests.support.redis import Redis


@pytest.fixture(params=["trio", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Also on asyncio, on which a mounted bridge may run."""
    assert isinstance(request.param, str)
    return request.param


async def test_replies_of_many_megabytes_come_whole(redis: Redis) -> None:
    value = bytes(range(256)) * 20_000
    redis.client.set("large", value)
    connection = await Connection.open(RedisTarget(redis.url))
    replies = await connection.execute(("GET", "large"), ("PING",), ("NOPE",), timeout_seconds=10)
    assert replies[:2] == [value, b"PONG"]
    assert "unknown command" in str(replies[2])
    assert await connection.execute(timeout_seconds=0.01) == []
    connection.close()
    connection.close()


async def test_a_unix_socket_works(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis("unixsocket redis.sock", "unixsocketperm 700")
    password = redis.url.split(":")[2].split("@")[0]
    connection = await Connection.open(RedisTarget(f"unix://:{password}@{redis.server.directory}/redis.sock?db=0"))
    assert await connection.ask("PING", timeout_seconds=5) == b"PONG"
    connection.close()


async def test_a_late_answer_closes_the_connection(redis: Redis) -> None:
    connection = await Connection.open(RedisTarget(redis.url))
    with pytest.raises(RedisUnavailableError, match=r"within 0\.05 s"):
        await connection.ask("BLPOP", "nothing", 0, timeout_seconds=0.05)
    assert connection.closed
    await eventually(lambda: redis.client.info()["blocked_clients"] == 0)


async def test_cancelling_closes_the_connection(redis: Redis) -> None:
    connection = await Connection.open(RedisTarget(redis.url))
    with anyio.move_on_after(0.05) as scope:
        await connection.ask("BLPOP", "nothing", 0, timeout_seconds=30)
    assert scope.cancelled_caught
    assert connection.closed


async def test_trouble_is_told_apart(redis: Redis) -> None:
    port = redis.server.port
    with pytest.raises(RedisRefusedError, match="refuses the login"):
        await Connection.open(RedisTarget(f"redis://:wrong@127.0.0.1:{port}"))
    with pytest.raises(RedisUnavailableError, match=r"redis://127\.0\.0\.1:1 does not answer") as caught:
        await Connection.open(RedisTarget("redis://:secret@127.0.0.1:1"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://x", "redis://:secret@host:port", "redis://h?socket_timeout=x", ""])
def test_an_unreadable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the Redis URL") as caught:
        RedisTarget(url)
    assert "secret" not in str(caught.value)


async def test_reading_goes_on_where_it_was_when_redis_comes_back(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis("appendonly yes", "appendfsync always")
    hub = Hub()
    reader = StreamReader(RedisTarget(redis.url), hub, Everybody(), Nobody())
    stream = ReadState(parse_queue("http"))
    reader.add(stream)
    expected = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        await stream.ready.wait()
        expected.append(redis.add_event("http", "waiting", "1"))
        await eventually(lambda: len(hub.seen) == 1)
        redis.server.kill()
        await eventually(lambda: stream.problem is not None)
        redis.server.start()
        expected += [redis.add_event("http", "waiting", "1") for _ in range(3)]
        await eventually(lambda: len(hub.seen) == 4)
        assert stream.problem is None
        tasks.cancel_scope.cancel()
    assert [stream_id.decode() for stream_id in hub.seen] == expected


async def test_the_count_follows_the_size_of_entries(redis: Redis) -> None:
    hub = Hub()
    hub.cursors["http"] = "0-0"
    reader = StreamReader(RedisTarget(redis.url), hub, Everybody(), Nobody())
    reader.add(ReadState(parse_queue("http")))
    for _ in range(12):
        redis.add_event("http", "completed", "1", returnvalue="x" * 4 * 1024 * 1024)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader.run)
        await eventually(lambda: len(hub.seen) == 12)
        assert reader._count <= 2
        for _ in range(40):
            redis.add_event("http", "waiting", "1")
            count = len(hub.seen)
            await eventually(lambda: len(hub.seen) == count + 1)  # noqa: B023 - waited for in its own turn
        assert reader._count == MAX_COUNT
        tasks.cancel_scope.cancel()


class Everybody:
    """An audience that waits for every queue."""

    def is_wanted(self, _queue: str) -> bool:
        return True


class Nobody:
    """An unblocker that does nothing. With one stream, no read must be ended early."""

    works = False

    def unblock(self) -> None:
        return


class Hub(Fanout):
    """Notes what is published."""

    def __init__(self) -> None:
        super().__init__(Rooms(ignore), Payloads(1 << 20, NO_RULES), lambda: 0.0, SILENT)
        self.seen: list[bytes] = []

    def publish(self, queue: str, entries: Sequence[Entry], start: int = 0) -> int:
        end = super().publish(queue, entries, start)
        self.seen += [stream_id for stream_id, _ in entries[start:end]]
        return end
