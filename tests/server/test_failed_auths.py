"""Tokens that are refused are counted by address; a valid one is never slowed."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import anyio.to_thread

from jobws.errors import TokenRefusedError
from jobws.server.failed_auths import LOGGED_PER_MINUTE, MAX_ADDRESSES, FailedAuths
from tests.support.http import HANDSHAKE, Answer, exchange
from tests.support.signing import SECRET
from tests.support.tokens import bearer, jwt, keyed_bridge

if TYPE_CHECKING:
    import pytest

    from tests.support.redis import Redis

WRONG = {"Authorization": f"Bearer {jwt('admin', key=SECRET[::-1])}"}


def test_a_minute_begins_with_the_first_refusal() -> None:
    failed = FailedAuths(2, Counter())
    assert [failed.note("a", now, None) for now in (100, 110, 120, 159)] == [0, 0, 40, 1]
    assert [failed.note("a", now, None) for now in (160, 161, 162)] == [0, 0, 58]
    assert failed.note("b", 162, None) == 0


def test_an_address_that_is_not_limited_is_not_counted() -> None:
    failed = FailedAuths(0, Counter())
    assert failed.note(None, 1, None) == 0
    assert failed.note("a", 1, None) == 60


def test_the_table_is_bounded() -> None:
    failed = FailedAuths(1, Counter())
    for number in range(MAX_ADDRESSES + 1):
        failed.note(str(number), 0, None)
    assert failed.note("0", 1, None) == 0
    assert failed.note(str(MAX_ADDRESSES), 1, None) == 59


def test_the_log_has_few_lines_whatever_the_addresses_are(caplog: pytest.LogCaptureFixture) -> None:
    failed, refused = FailedAuths(1000, Counter()), TokenRefusedError("bad-token", "no such key")
    for number in range(2 * LOGGED_PER_MINUTE):
        failed.note(str(number) if number % 2 else None, 7, refused)
    assert caplog.messages == ["token refused (bad-token): no such key"] * LOGGED_PER_MINUTE
    failed.note(None, 7 + 61 / LOGGED_PER_MINUTE, refused)
    assert len(caplog.messages) == LOGGED_PER_MINUTE + 1


async def test_anyone_who_guesses_tokens_is_told_to_wait(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with keyed_bridge(redis.url, failed_auths_per_minute=2, trusted_proxies=("127.0.0.1",)) as live:

        def ask(address: str, headers: dict[str, str], path: str = "/whoami") -> Answer:
            return exchange("GET", live.url + path, None, {"X-Forwarded-For": address, **headers})

        def guess() -> None:
            assert [ask("192.0.2.1", WRONG).status for _ in range(3)] == [401, 401, 429]
            assert ask("192.0.2.1", WRONG, "/readyz").status == 200
            answer = ask("192.0.2.1", WRONG)
            assert (answer.status, answer.content()["code"]) == (429, "rate-limited")
            assert (
                answer.content()["detail"] == "too many tokens of this address were refused (failed_auths_per_minute)"
            )
            (wait,) = (int(value) for name, value in answer.headers if name == "retry-after")
            assert 0 < wait <= 60
            assert ask("192.0.2.1", bearer("admin")).status == 200
            assert ask("192.0.2.2", WRONG).status == 401
            assert ask("127.0.0.1", WRONG).status == 401
            # Neither does a handshake help, and what everyone may load is there for everyone.
            handshake = {**HANDSHAKE, **WRONG, "X-Forwarded-For": "192.0.2.1"}
            assert exchange("GET", live.url + "/ws", None, handshake).status == 429
            assert ask("192.0.2.1", WRONG, "/jobws.js").status == 200

        await anyio.to_thread.run_sync(guess)
    # Two of the first address, and one each of the others: what comes after the limit is not in the log.
    assert sum(message.startswith("token refused") for message in caplog.messages) == 4
