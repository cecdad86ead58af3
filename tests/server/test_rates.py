"""What one holder of tokens may send and subscribe to, over all of its connections; without keys, one address."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from jobws.errors import ConfigurationError, RateLimitedError
from jobws.server import Settings
from jobws.server.websocket.rates import (
    ITEMS_PER_MESSAGE,
    MAX_PAYERS,
    MOST_SECONDS,
    REQUEST_COST,
    Pace,
    Rate,
)
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.event_source import event_source
from tests.support.http import Answer, exchange
from tests.support.tokens import bearer, jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis

REQUESTS = "there may be 4 requests a minute by one holder or address (requests_per_minute)"
BYTES = "there may be 100 bytes of bodies a minute by one holder or address (post_bytes_per_minute)"
LINES = "there may be 3 lines of POST /logs a minute by one holder or address (log_lines_per_minute)"
# What is free at 20 messages a second.
BURST = 2
SUBSCRIPTIONS = "there may be 2 subscriptions by one holder or address (max_subscriptions_per_identity)"


def wait_of(rate: Rate, payer: str | None, now: float, amount: int = 1) -> float:
    try:
        rate.charge(payer, amount, now)
    except RateLimitedError as error:
        return error.seconds
    return 0.0


def test_what_is_refused_costs_nothing() -> None:
    limited: Counter[str] = Counter()
    rate = Rate("lines", 60, "lines", limited)
    assert [wait_of(rate, "a", 100, amount) for amount in (59, 100, 1, 1)] == [0, 0, 100, 100]
    assert [wait_of(rate, "a", now) for now in (199, 200, 200)] == [1, 0, 1]
    assert wait_of(rate, "b", 200) == 0
    assert limited == {"lines": 4}


def test_no_payer_is_not_limited_and_the_table_is_bounded() -> None:
    rate = Rate("lines", 1, "lines", Counter())
    assert [wait_of(rate, None, 0) for _ in range(3)] == [0, 0, 0]
    for number in range(MAX_PAYERS + 1):
        assert wait_of(rate, str(number), 0) == 0
    assert wait_of(rate, str(MAX_PAYERS), 0) == 60
    assert wait_of(rate, "0", 0) == 0


def test_a_payer_waits_for_what_it_has_taken_over_the_burst_of_a_tenth_of_a_second() -> None:
    limited: Counter[str] = Counter()
    pace = Pace(50, limited)
    assert [pace.charge("a", cost, 100) for cost in (4, 1, 1, 10)] == pytest.approx([0, 0, 0.02, 0.22])
    assert pace.charge("b", 5, 100) == 0
    assert [pace.charge("c", 10_000, 100) for _ in range(2)] == [MOST_SECONDS, MOST_SECONDS]
    assert pace.charge("c", 5, 100 + MOST_SECONDS + 0.2) == 0
    assert pace.charge("a", 1, 100.25) == 0  # all is paid since, and one more
    assert [pace.charge(None, 1000, 100) for _ in range(3)] == [0, 0, 0]
    assert limited == {"requests_per_second": 4}


def test_a_limit_is_at_least_one() -> None:
    with pytest.raises(ConfigurationError, match=r"^requests_per_second must be at least 1$"):
        Settings(requests_per_second=0).check()
    with pytest.raises(ConfigurationError, match=r"^limits per minute must be at least 1$"):
        Settings(log_lines_per_minute=0).check()


def check_limited(answer: Answer, detail: str) -> None:
    assert (answer.status, answer.content()["code"], answer.content()["detail"]) == (429, "rate-limited", detail)
    (wait,) = (int(value) for name, value in answer.headers if name == "retry-after")
    assert 0 < wait <= 60


async def test_requests_are_counted_over_all_connections_of_a_holder(redis: Redis) -> None:
    ann, bob = bearer("admin", sub="ann"), bearer("admin", sub="bob")
    async with keyed_bridge(redis.url, requests_per_minute=4) as live:

        def ask(path: str, headers: dict[str, str]) -> Answer:
            return exchange("GET", live.url + path, None, headers)

        async with (  # a handshake is a request
            raw_client(live.url, headers=list(ann.items())) as one,
            raw_client(live.url, headers=list(bearer("admin", sub="ann").items())) as two,
        ):
            assert (await two.ask("ping"))["event"] == "pong"
            assert (await anyio.to_thread.run_sync(ask, "/whoami", ann)).status == 200
            for path in ("/whoami", "/jobs/http/1?wait=1", "/events?job=1"):
                check_limited(await anyio.to_thread.run_sync(ask, path, ann), REQUESTS)
            await one.send("ping")
            assert (await one.closed()) == (4003, REQUESTS)
            assert (await anyio.to_thread.run_sync(ask, "/jobws.js", ann)).status == 200
        metrics = await anyio.to_thread.run_sync(ask, "/metrics", bob)
        assert 'jobws_limited_total{setting="requests_per_minute"} 4.0' in metrics.content()


async def test_what_a_holder_asks_for_fast_waits_over_all_its_connections_and_nobody_else_does(redis: Redis) -> None:
    async with (
        keyed_bridge(redis.url, requests_per_second=20) as live,
        raw_client(live.url, headers=list(bearer("admin", sub="ann").items())) as one,
    ):
        began = anyio.current_time()
        async with (
            raw_client(live.url, headers=list(bearer("admin", sub="ann").items())) as two,
            raw_client(live.url, headers=list(bearer("admin", sub="bob").items())) as other,
        ):
            for client in (one, two) * 2:
                await client.send("ping")
            assert (await other.ask("ping"))["event"] == "pong"
            for client in (one, two) * 2:
                assert (await client.receive())["event"] == "pong"
            answers = anyio.current_time() - began
            assert answers >= (REQUEST_COST + 2 - BURST) / 20
            await anyio.to_thread.run_sync(exchange, "GET", live.url + "/whoami", None, bearer("admin", sub="ann"))
            assert anyio.current_time() - began >= (2 * REQUEST_COST + 4 - BURST) / 20
            await anyio.to_thread.run_sync(
                exchange, "POST", live.url + "/lookup", ["x" * 100_000], bearer("admin", sub="ann")
            )
            assert anyio.current_time() - began >= (3 * REQUEST_COST + 4 + 48 - BURST) / 20
        waits = live.bridge.limited["requests_per_second"]
        metrics = await anyio.to_thread.run_sync(
            exchange, "GET", live.url + "/metrics", None, bearer("admin", sub="eve")
        )
        assert f'jobws_limited_total{{setting="requests_per_second"}} {waits + 1}.0' in metrics.content()
        assert waits >= 3  # two handshakes, and the list


async def took(requests: Callable[[], object]) -> float:
    """Return how many seconds requests took. They are sent in a thread."""
    began = anyio.current_time()
    await anyio.to_thread.run_sync(requests)
    return anyio.current_time() - began


async def test_refusals_wait_too(redis: Redis) -> None:
    """Otherwise somebody without any right, or who has sent too much, could keep the bridge busy."""
    limits: dict[str, Any] = {"requests_per_second": 20, "requests_per_minute": 1}
    async with keyed_bridge(redis.url, trusted_proxies=("127.0.0.1",), **limits) as live:

        def ask(headers: dict[str, str], path: str = "/whoami") -> int:
            return exchange("GET", live.url + path, None, {"X-Forwarded-For": "192.0.2.1", **headers}).status

        def send_too_much() -> None:
            assert [ask(bearer("admin", sub="ann")) for _ in range(4)] == [200, 429, 429, 429]

        def send_no_token() -> None:
            assert [ask({}) for _ in range(4)] == [401] * 4

        for requests in (send_too_much, send_no_token):
            assert 4 > await took(requests) >= (4 * REQUEST_COST - BURST) / 20
        # The address owes nothing for routes that are open to everyone.
        assert await anyio.to_thread.run_sync(ask, {}, "/readyz") == 200


async def test_a_guess_too_many_waits_for_longer_and_nobody_else_with_its_address(redis: Redis) -> None:
    limits: dict[str, Any] = {"requests_per_second": 100, "failed_auths_per_minute": 1}
    async with keyed_bridge(redis.url, trusted_proxies=("127.0.0.1",), **limits) as live:
        forwarded = {"X-Forwarded-For": "192.0.2.1"}

        def guess() -> int:
            return exchange("GET", live.url + "/whoami", None, {**forwarded, "Authorization": "Bearer guess"}).status

        def guess_thrice() -> None:
            assert [guess() for _ in range(3)] == [401, 429, 429]

        def send_no_token() -> None:
            assert exchange("GET", live.url + "/whoami", None, forwarded).status == 401

        assert await took(guess_thrice) >= (2 * 60 - 10) / 100
        async with anyio.create_task_group() as group:
            for _ in range(4):  # which owe 2.4 s
                group.start_soon(anyio.to_thread.run_sync, guess)
            for _ in range(3):
                assert await took(send_no_token) < 1.5


async def test_items_of_a_list_wait_over_http_too(redis: Redis) -> None:
    async with keyed_bridge(redis.url, requests_per_second=100) as live:

        def look_up() -> None:
            ids = [str(number) for number in range(500)]
            assert exchange("POST", live.url + "/lookup", ids, bearer("admin")).status == 200

        assert await took(look_up) >= (REQUEST_COST + 500 / ITEMS_PER_MESSAGE - 10) / 100


async def test_a_wait_and_a_stream_of_which_the_subscription_is_refused(redis: Redis) -> None:
    async with keyed_bridge(redis.url, requests_per_minute=1) as live:
        url, ann = live.url + "/jobs/http/1?wait=9", bearer("admin", sub="ann")
        check_limited(await anyio.to_thread.run_sync(exchange, "GET", url, None, ann), REQUESTS.replace("4", "1"))
        async with event_source(live.url, "1", headers=bearer("admin", sub="bob")) as stream:
            assert "4003" in str(await stream.receive())


async def test_the_bytes_of_bodies_are_counted(redis: Redis) -> None:
    async with keyed_bridge(redis.url, post_bytes_per_minute=100) as live:

        def post(length: int, sub: str = "ann") -> Answer:
            return exchange("POST", live.url + "/logs", {"message": "x" * length}, bearer("write:logs", sub=sub))

        def flood() -> None:
            assert [post(10).status, post(100).status] == [202, 202]
            check_limited(post(10), BYTES)
            assert post(10, "bob").status == 202
            assert exchange("GET", live.url + "/whoami", None, bearer("write:logs", sub="ann")).status == 200

        await anyio.to_thread.run_sync(flood)
    assert redis.client.xlen("jobws:logs") >= 3


async def test_the_lines_of_the_log_are_counted(redis: Redis) -> None:
    async with live_bridge(
        redis.url, log_lines_per_minute=3, trusted_proxies=("127.0.0.1",), auth=False, own_log=False
    ) as live:

        def post(address: str, lines: int, message: object = "m") -> Answer:
            body = [{"message": message}] * lines
            return exchange("POST", live.url + "/logs", body, {"X-Forwarded-For": address})

        def flood() -> None:
            assert [post("192.0.2.1", 2).status, post("192.0.2.1", 2).status] == [202, 202]
            check_limited(post("192.0.2.1", 1), LINES)
            check_limited(post("192.0.2.1", 1, 7), LINES)  # what is in a body is not looked at any more
            assert post("192.0.2.2", 1, 7).status == 400
            assert [post("192.0.2.2", 1).status, post("127.0.0.1", 9).status] == [202, 202]

        await anyio.to_thread.run_sync(flood)
    assert redis.client.xlen("jobws:logs") == 14


async def test_subscriptions_are_counted_over_all_connections_of_a_holder(redis: Redis) -> None:
    ann, bob = bearer("admin", sub="ann"), bearer("admin", sub="bob")
    async with keyed_bridge(redis.url, max_subscriptions_per_identity=2, max_subscriptions=3) as live:
        async with (
            raw_client(live.url, headers=list(ann.items())) as one,
            raw_client(live.url, headers=list(ann.items())) as two,
            raw_client(live.url, headers=list(bob.items())) as other,
        ):
            assert (await one.ask("subscribe-job", "1"))["event"] == "ack"
            results = (await two.ask("subscribe-job", ["2", "3"]))["data"]["results"]
            assert "error" not in results[0]
            assert results[1]["error"] == {"code": "too-many-subscriptions", "message": SUBSCRIPTIONS}
            # One whose outcome was sent makes room, but only for its own connection.
            redis.add_event("http", "completed", "2", returnvalue="1")
            assert (await two.receive())["event"] == "completed"
            assert (await one.ask("subscribe-job", "4"))["data"]["code"] == "too-many-subscriptions"
            assert (await two.ask("subscribe-job", "4"))["data"]["evicted"] == [{"jobId": "2"}]
            # Another holder, until its token is ann's; what it has by then stays.
            assert (await other.ask("subscribe-job", "5"))["event"] == "ack"
            await other.ask("authenticate", {"token": jwt("admin", sub="ann")})
            await one.ask("unsubscribe-job", "1")
            assert (await one.ask("subscribe-job", "1"))["data"]["code"] == "too-many-subscriptions"
            await two.ask("unsubscribe-job", "4")
            assert (await one.ask("subscribe-job", "1"))["event"] == "ack"
        metrics = (await anyio.to_thread.run_sync(exchange, "GET", live.url + "/metrics", None, bob)).content()
        assert 'jobws_limited_total{setting="max_subscriptions_per_identity"} 3.0' in metrics
        assert 'jobws_limited_total{setting="max_subscriptions"} 0.0' in metrics


async def test_a_connection_with_too_many_subscriptions_is_counted(redis: Redis) -> None:
    async with live_bridge(redis.url, max_subscriptions=1, max_subscriptions_per_identity=1) as live:
        async with raw_client(live.url) as client, raw_client(live.url) as other:
            await client.ask("subscribe-job", "1")
            answer = await client.ask("subscribe-job", "2")
            assert answer["data"]["message"] == "a connection may have 1 subscriptions"
            # Without keys nobody is an identity, and loopback has no limit.
            assert (await other.ask("subscribe-job", "2"))["event"] == "ack"
        metrics = await anyio.to_thread.run_sync(exchange, "GET", live.url + "/metrics", None, {})
        assert 'jobws_limited_total{setting="max_subscriptions"} 1.0' in metrics.content()


async def test_without_keys_loopback_sends_what_it_wants(redis: Redis) -> None:
    limits: dict[str, Any] = {"requests_per_minute": 1, "post_bytes_per_minute": 1, "log_lines_per_minute": 1}
    async with live_bridge(redis.url, **limits) as live, raw_client(live.url) as client:
        for _ in range(3):
            assert (await client.ask("ping"))["event"] == "pong"
            posted = await anyio.to_thread.run_sync(exchange, "POST", live.url + "/logs", [{"message": "m"}] * 3, {})
            assert posted.status == 202
