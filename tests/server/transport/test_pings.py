"""Checks of many WebSockets never take long without a pause, and pings are spread over time."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import trio
import trio.testing

from jobws.server.fair_turns import FairTurns
from jobws.server.settings import Settings
from jobws.server.transport.acceptor import TICK_SECONDS, TICK_WIRES, Transport
from jobws.server.transport.websocket_connection import WebSocketConnection
from tests.support.echo import unlimited

COUNT = TICK_WIRES * 3 // 2
STEP_SECONDS = 0.125


def _pings(ping_seconds: float, seconds: float) -> list[int]:
    """Return how many pings are sent in each step of time, to clients that connected at the same moment."""
    settings = Settings(ping_seconds=ping_seconds, silence_seconds=1000)

    async def main(stack: ExitStack) -> list[int]:
        transport = Transport(None, settings, unlimited(), FairTurns(time.perf_counter))
        peers = []
        for _ in range(COUNT):
            ours, theirs = (stack.enter_context(sock) for sock in socket.socketpair())
            ours.setblocking(False)
            theirs.setblocking(False)
            connection = WebSocketConnection(ours, settings, spawn=lambda *_: None, turns=FairTurns(time.perf_counter))
            connection.open([])
            transport._websockets.add(connection)
            peers.append(theirs)
        counts = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport._watch)
            for _ in range(round(seconds / STEP_SECONDS)):
                await trio.sleep(STEP_SECONDS)
                counts.append(sum(_received(peer) // len(b"\x89\0") for peer in peers))
            nursery.cancel_scope.cancel()
        return counts

    with ExitStack() as stack:
        return trio.run(main, stack, clock=trio.testing.MockClock(autojump_threshold=0))


def _received(peer: socket.socket) -> int:
    try:
        return len(peer.recv(100))
    except BlockingIOError:
        return 0


def test_clients_that_came_together_are_not_pinged_together() -> None:
    counts = _pings(ping_seconds=20, seconds=22)
    assert sum(counts) == COUNT
    assert not any(counts[: int(10 / STEP_SECONDS)])
    assert max(counts) < COUNT / 4


def test_one_turn_looks_after_some_of_them() -> None:
    counts = _pings(ping_seconds=TICK_SECONDS / 10, seconds=4 * TICK_SECONDS)
    # A busy kernel may deliver a part of what one turn sends a step later.
    assert TICK_WIRES / 2 < max(counts) < 2 * TICK_WIRES
    assert sum(counts) >= 2 * COUNT
