"""Which child has failed is told only to clients that may follow the job's flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobws.hub.jobs.replay import replay
from tests.hub.one_bridge import Bridge, Client, event
from tests.support.sight import sight

if TYPE_CHECKING:
    from jobws.hub.jobs.client import JobClient

REASON = "child bull:sparql:secret failed"
FAILED = event("failed", failedReason=REASON)


def told(client: Client) -> list[str]:
    return [frame["data"]["failedReason"] for frame in client.frames() if frame["event"] == "failed"]


def limit(client: Client, *scope: str) -> JobClient:
    client.hub_client.session.sight = sight(*scope)
    return client.hub_client


@pytest.mark.parametrize(("scope", "expected"), [("read:jobs:http", "child failed"), ("read:jobs:*", REASON)])
def test_clients_get_what_they_may_know(scope: str, expected: str) -> None:
    bridge = Bridge()
    everything, limited = Client(bridge), Client(bridge)
    limit(limited, scope)
    everything.subscribe({"jobId": "1", "queue": "http"})
    limited.subscribe({"jobId": "1", "queue": "http"})
    bridge.publish("5-0", FAILED)
    assert (told(everything), told(limited)) == ([REASON], [expected])


def test_if_nobody_may_know_nobody_is_told() -> None:
    bridge = Bridge()
    client = Client(bridge)
    limit(client, "read:jobs:http")
    client.subscribe({"jobId": "1", "queue": "http"})
    bridge.publish("5-0", FAILED)
    bridge.publish("6-0", event("failed", failedReason="no"))
    assert told(client) == ["child failed", "no"]


@pytest.mark.parametrize(("scope", "expected"), [("read:jobs:http", "child failed"), ("read:jobs:*", REASON)])
def test_what_is_read_back_tells_the_same(scope: str, expected: str) -> None:
    bridge = Bridge()
    bridge.publish("5-0", FAILED)
    client = Client(bridge)
    limit(client, scope)
    client.complete(client.begin({"jobId": "1", "queue": "http"}))
    replay(bridge.fanout, *client.to_read_back(), (b"5-0", FAILED))
    assert told(client) == [expected]
