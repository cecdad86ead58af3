"""`jobws serve` also writes its own log to the stream, before and after an outage, unless it is switched off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support import eventually
from tests.support.bridge import BridgeProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis


def lines(redis: Redis) -> list[dict[str, str]]:
    found: Any = redis.client.xrange("jobws:logs")
    return [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]


def messages(redis: Redis) -> list[str]:
    return [line["message"] for line in lines(redis)]


def test_what_it_logs_is_in_the_stream_to_the_last_line(redis: Redis) -> None:
    with BridgeProcess("--port", "0", "--redis", redis.url) as bridge:
        url = bridge.started()
        assert bridge.terminate() == 0
    written = lines(redis)
    assert [line.split(None, 3)[3] for line in bridge.lines] == [line["message"] for line in written]
    assert {line["source"] for line in written} == {"jobws"}
    serving = next(line for line in written if f"serves {url}" in line["message"])
    assert (serving["level"], json.loads(serving["fields"])) == ("info", {"logger": "jobws.server.serve"})
    assert written[-1]["message"] == "stopped"


async def test_an_outage_is_reported_once_and_does_not_go_round(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis("appendonly yes", "appendfsync always")
    with BridgeProcess("--port", "0", "--redis", redis.url, "--queue", "http") as bridge:
        bridge.started()
        await eventually(lambda: any(" serves " in message for message in messages(redis)))
        redis.server.kill()
        bridge.read_until("log lines wait for it")
        redis.server.start()
        await eventually(lambda: any("again" in message for message in messages(redis)))
        assert bridge.terminate() == 0
    waiting = [line for line in bridge.lines if "log lines wait for it" in line]
    assert len(waiting) == 1
    written = messages(redis)
    assert not [message for message in written if "log lines wait" in message]
    assert len(written) < 20


def test_a_bridge_can_keep_its_log_to_itself(redis: Redis) -> None:
    with BridgeProcess("--port", "0", "--redis", redis.url, "--no-own-log") as bridge:
        bridge.started()
        assert bridge.terminate() == 0
    assert not redis.client.exists("jobws:logs")
