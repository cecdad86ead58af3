"""To whom the numbers of a queue are not sent now: who has other things to read first gets later ones."""

from __future__ import annotations

from typing import Any

from jobws.protocol.queue_stats import QueueStats
from jobws.server.auto_reset_event import AutoResetEvent
from jobws.server.jobs.stats_feed import StatsFeed, _Sent
from tests.hub.one_bridge import Bridge, Client, event

STATS = {"queue": "http", "events": ["*", "queue-stats"]}


class Feed:
    """The numbers of a queue, which were read once."""

    def __init__(self, bridge: Bridge) -> None:
        nothing: Any = None
        self._feed = StatsFeed(bridge.fanout, nothing, nothing, AutoResetEvent(), 1.0)
        self._sent = _Sent(QueueStats("http", False, {}, None, 0, 0, 0), 0.0, None, set())

    def send(self, *clients: Client) -> None:
        self._feed._send(self._sent, [client.member() for client in clients])


def listening(bridge: Bridge, **limits: int) -> Client:
    client = Client(bridge, **limits)
    client.complete(client.begin(STATS, "subscribe-queue"))
    client.frames()
    return client


def names(client: Client) -> list[str]:
    return [frame["event"] for frame in client.frames()]


def test_a_client_that_reads_slowly_is_sent_them_later_and_others_now() -> None:
    bridge = Bridge()
    slow, other = listening(bridge, outbox_bytes=4000), listening(bridge)
    feed = Feed(bridge)
    bridge.publish("1-0", event("mine", text="x" * 3000))
    feed.send(slow, other)
    assert (names(slow), names(other)) == (["mine"], ["mine", "queue-stats"])
    feed.send(slow, other)
    assert (names(slow), names(other)) == (["queue-stats"], [])
    feed.send(slow, other)
    assert (names(slow), names(other)) == ([], [])


def test_what_a_client_missed_comes_before_them() -> None:
    bridge = Bridge()
    client = listening(bridge)
    client.member().held = []
    feed = Feed(bridge)
    feed.send(client)
    assert names(client) == []
    bridge.fanout.release(client.member())
    feed.send(client)
    assert names(client) == ["queue-stats"]
