"""Sentinels: their URL, which master they name, and a bridge that follows when they name another one."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from jobws.client.rest import submit
from jobws.errors import ConfigurationError, RedisRefusedError, RedisUnavailableError
from jobws.redis.connection import Connection, RedisTarget
from jobws.redis.login import Address
from jobws.redis.sentinel import Sentinels
from jobws.server.bridge import Bridge
from jobws.server.settings import Settings
from jobws.server.startup_report import report
from tests.support import EVENTUALLY_SECONDS
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.sentinel import SentinelSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def standing() -> Iterator[SentinelSet]:
    """Sentinels for tests that do not change them."""
    with SentinelSet() as sentinels:
        yield sentinels


@pytest.mark.parametrize(
    ("url", "address", "master"),
    [
        ("redis+sentinel://h/m", "redis+sentinel://h:26379/m", "redis://h:1/0"),
        ("redis+sentinel://a:1,b:2/m/3", "redis+sentinel://a:1,b:2/m/3", "redis://h:1/3"),
        ("redis+sentinel://u:p%40@[::1]:5,b/m", "redis+sentinel://[::1]:5,b:26379/m", "redis://u:p%40@h:1/0"),
        (
            "rediss+sentinel://:p@h/m/1?sentinel_password=s&ssl_cert_reqs=none&client_name=x",
            "rediss+sentinel://h:26379/m/1",
            "rediss://:p@h:1/1?ssl_cert_reqs=none&client_name=x",
        ),
    ],
)
def test_a_url_names_sentinels_and_master(url: str, address: str, master: str) -> None:
    target = RedisTarget(url)
    assert (target.address, target.url_at(Address("h", 1))) == (address, master)


def test_an_address_of_ipv6_stays_in_brackets() -> None:
    sentinels = Sentinels("redis+sentinel://[2001:db8::1]:5/m")
    assert sentinels.addresses == [("2001:db8::1", 5)]
    assert sentinels.url_at(Address("::1", 6379)) == "redis://[::1]:6379/0"
    assert RedisTarget("redis://u:secret@[::1]:6379/2").address == "redis://[::1]:6379/2"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://u:secret@/m",
        "redis+sentinel://u:secret@h:port/m",
        "redis+sentinel://u:secret@h:1:2/m",
        "redis+sentinel://u:secret@h,/m",
        "redis+sentinel://u:secret@h:70000/m",
        "redis+sentinel://u:secret@::1/m",
        "redis+sentinel://u:secret@h/m/db",
        "redis+sentinel://u:secret/half@h/m",
        "redis+sentinel://u:secret@h/m?no_such_option=1",
        "rediss+sentinel://u:secret@h/m?ssl_cert_reqs=x&sentinel_password=secret",
        "redis://:secret/half@host",
        "redis://:secret℀@host",
    ],
)
def test_an_unreadable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the Redis URL .*; expected redis") as caught:
        RedisTarget(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_trouble_is_told_apart(standing: SentinelSet) -> None:
    port = standing.sentinels[0].server.port
    with pytest.raises(RedisUnavailableError, match=r"no Sentinel tells the master: .* 127\.0\.0\.1:1 does not"):
        await Connection.open(RedisTarget("redis+sentinel://:secret@127.0.0.1:1/jobs"))
    with pytest.raises(RedisUnavailableError, match='know no master "other"'):
        await Connection.open(RedisTarget(standing.url(name="other")))
    with pytest.raises(RedisRefusedError, match=rf"the Sentinel at 127.0.0.1:{port} wants a password: \?sentinel_"):
        await Connection.open(RedisTarget(f"redis+sentinel://127.0.0.1:{port}/jobs"))
    with pytest.raises(RedisRefusedError, match=r"the Sentinel at .* refuses the login"):
        await Connection.open(RedisTarget(f"redis+sentinel://127.0.0.1:{port}/jobs?sentinel_password=wrong"))
    with pytest.raises(RedisRefusedError, match=r"Redis at redis\+sentinel://.* refuses the login"):
        await Connection.open(RedisTarget(standing.url().replace("app:", "nobody:")))


async def test_a_redis_that_is_no_sentinel_says_so(standing: SentinelSet) -> None:
    with pytest.raises(RedisUnavailableError, match=r"unknown command .SENTINEL"):
        await RedisTarget(standing.url(standing.master)).locate()


async def test_a_plain_url_of_a_sentinel_says_which_form_it_takes(standing: SentinelSet) -> None:
    bridge = Bridge(Settings(redis=standing.sentinels[0].url))
    with pytest.raises(RedisRefusedError, match=r"is a Sentinel, .*redis\+sentinel://host:port/master-name"):
        await report(bridge)


async def test_one_sentinel_of_three_is_enough(standing: SentinelSet) -> None:
    places = standing.url().replace("@127", "@127.0.0.1:1,127.0.0.1:2,127", 1)
    connection = await Connection.open(RedisTarget(places))
    assert await connection.ask("PING", timeout_seconds=5) == b"PONG"
    connection.close()


async def test_a_silent_sentinel_holds_up_nothing(standing: SentinelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Sentinel accepts connections and answers nothing, as one that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with monkeypatch.context() as patient, anyio.fail_after(EVENTUALLY_SECONDS):
            for name in ("sentinel.TIMEOUT_SECONDS", "login.CONNECT_TIMEOUT_SECONDS"):
                patient.setattr(f"jobws.redis.{name}", 2 * EVENTUALLY_SECONDS)
            await RedisTarget(standing.url().replace("@127", f"@127.0.0.1:{port},127", 1)).locate()
        with (
            pytest.raises(RedisUnavailableError, match=f"127.0.0.1:{port} gave no answer within 3 s"),
            anyio.fail_after(20),
        ):
            await RedisTarget(f"redis+sentinel://127.0.0.1:{port}/jobs").locate()


async def test_a_replica_is_not_taken_for_the_master(standing: SentinelSet) -> None:
    """Sentinels name the new master before it knows that it is one, and the old one until they notice its end."""
    target = RedisTarget(standing.url())
    place = Address("127.0.0.1", standing.replica.server.port)
    with pytest.raises(RedisUnavailableError, match="is no master at the moment"):
        await anyio.to_thread.run_sync(target.connect_blocking, place)


@pytest.mark.parametrize("lose", [SentinelSet.stop_master, SentinelSet.isolate_master])
async def test_a_bridge_follows_to_the_new_master(lose: Callable[[SentinelSet], None]) -> None:
    """The old master has stopped, or it is cut off from its Sentinels and still answers without an error."""
    with SentinelSet() as sentinels:
        await sentinels.complete()
        sentinels.master.add_job("http", "7")
        async with live_bridge(sentinels.url(), queues=("http",)) as live, raw_client(live.url) as client:
            await client.ask("subscribe-job", {"jobId": "7", "events": ["*"]})
            sentinels.master.add_event("http", "active", "7", prev="waiting")
            await client.until("active")
            first = (await submit(live.url, "http", 1)).job_id
            assert sentinels.master.client.exists(f"bull:http:{first}")
            lose(sentinels)
            await sentinels.failed_over()
            sentinels.replica.add_event("http", "completed", "7", returnvalue="1")
            await client.until("completed")
            second = (await submit(live.url, "http", 2)).job_id
            assert sentinels.replica.client.exists(f"bull:http:{second}")
            answer = await client.ask("subscribe-job", second)
            assert answer["data"]["jobs"][0]["state"] == "waiting"


async def test_a_job_that_is_submitted_meanwhile_lands_on_the_new_master() -> None:
    with SentinelSet() as sentinels:
        await sentinels.complete()
        async with live_bridge(sentinels.url(), queues=("http",)) as live:
            add = partial(live.bridge.service.submit, live.bridge.service.labels["http"], "test", 1)
            await add("first", {})
            sentinels.stop_master()
            await add("second", {})
            assert sentinels.replica.client.exists("bull:http:second")


async def test_the_newest_configuration_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Sentinel that missed the failover still names the old master, and may be the first to answer."""
    for name in ("TIMEOUT_SECONDS", "OTHERS_SECONDS"):
        monkeypatch.setattr(f"jobws.redis.sentinel.{name}", EVENTUALLY_SECONDS)
    with SentinelSet() as sentinels:
        await sentinels.complete()
        sentinels.isolate_master()
        await sentinels.failed_over()
        left_behind = sentinels.sentinel(user="app")
        old, new = (Address("127.0.0.1", node.server.port) for node in (sentinels.master, sentinels.replica))
        assert await RedisTarget(sentinels.url(left_behind)).locate() == old
        target = RedisTarget(sentinels.url(left_behind, *sentinels.sentinels))
        assert [await target.locate() for _ in range(20)] == [new] * 20


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_waits_at_the_old_master_is_told() -> None:
    """The old master itself would answer a blocked read only at the end of its time."""
    with SentinelSet() as sentinels:
        await sentinels.complete()
        target = RedisTarget(sentinels.url())
        waiting, idle = [await Connection.open(target) for _ in range(2)]
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(RedisUnavailableError, match="the Redis master moved to"):
                    await waiting.ask("BLPOP", "nothing", 0, timeout_seconds=60)

            tasks.start_soon(wait)
            sentinels.isolate_master()
            await sentinels.failed_over()
            await target.locate()
        with pytest.raises(RedisUnavailableError, match="the Redis master moved to"):
            await idle.ask("PING", timeout_seconds=5)
