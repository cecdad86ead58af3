"""What served a connection is freed when the client leaves, without the garbage collector, which stops all clients."""

from __future__ import annotations

import gc
import http.client
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from jobws.hub.client import Client
from jobws.server.transport.http1 import _Connection
from jobws.server.transport.websocket_connection import WebSocketConnection
from tests.support import eventually
from tests.support.peer import Peer
from tests.support.tokens import bearer, jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.redis import Redis


def subscribe(url: str) -> None:
    with Peer(url, headers=bearer("admin")) as peer:
        peer.send(b'{"event":"subscribe-job","data":{"jobId":"1","events":["*"]}}')
        assert b'"hello"' in peer.frame()[1]
        assert b'"ack"' in peer.frame()[1]


def follow_log(url: str) -> None:
    with Peer(url, "/logs", headers=bearer("admin")) as peer:
        peer.send(b'{"event":"subscribe-logs","data":{"tail":1}}')
        assert b'"hello"' in peer.frame()[1]
        assert b'"ack"' in peer.frame()[1]


def authenticate(url: str) -> None:
    with Peer(url) as peer:
        peer.send(b'{"event":"authenticate","data":{"token":"%b"}}' % jwt("admin").encode())
        assert b'"hello"' in peer.frame()[1]
        assert b'"ack"' in peer.frame()[1]


def be_warned(url: str) -> None:
    """Leave right after the task that looks at all clients has found that the token expires soon."""
    with Peer(url, headers=bearer("admin", seconds=62)) as peer:
        assert b'"hello"' in peer.frame()[1]
        assert b'"expiring"' in peer.frame()[1]


def be_refused(url: str) -> None:
    with Peer(url, headers={"Authorization": "Bearer guess"}) as peer:
        assert b'"hello"' in peer.frame()[1]
        assert peer.frame()[0] == 8


def ask(url: str) -> None:
    for _ in range(20):  # it is chance whether the bridge already waits for another request when the client leaves
        with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
            for path in ("/whoami", "/jobs/http/1"):
                connection.request("GET", path, headers=bearer("admin"))
                assert connection.getresponse().read()


@pytest.fixture
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> bool:
    return any(isinstance(each, (Client, WebSocketConnection, _Connection)) for each in gc.get_objects())


@pytest.mark.usefixtures("_without_collector")
@pytest.mark.parametrize("visit", [subscribe, follow_log, authenticate, be_warned, be_refused, ask])
@pytest.mark.parametrize("direct", [True, False], ids=["direct", "asgi"])
async def test_nothing_of_a_connection_outlives_it(redis: Redis, visit: Callable[[str], None], *, direct: bool) -> None:
    """The bridge does not wait for another request of a client that has closed its connection."""
    redis.add_job("http", "1")
    async with keyed_bridge(redis.url, queues=("http",), direct=direct, request_seconds=600) as live:
        assert not alive()
        await anyio.to_thread.run_sync(visit, live.url)
        await eventually(lambda: not alive())
