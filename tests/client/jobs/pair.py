"""A client's subscriptions with the bridge of `model.py`, a clock, and users who watch jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobws.client.frames import Event, decode_frame
from jobws.client.jobs.subscription import Item, Subscription, Watch
from jobws.client.jobs.subscriptions import Subscriptions
from jobws.errors import ClientError
from jobws.protocol.messages import OUTCOMES
from tests.client.jobs.model import Model

if TYPE_CHECKING:
    from jobws.protocol.request_types import Room


class User:
    """A watch, and what its user got."""

    def __init__(
        self, rooms: list[Room], events: frozenset[str] | None, *, strict: bool = False, logs: bool = False
    ) -> None:
        self.events: dict[Room, list[Event]] = {room: [] for room in rooms}
        self.ends: dict[Room, list[Any]] = {room: [] for room in rooms}
        self.answers: list[Room] = []
        self._open = len(rooms)
        self.watch = Watch(self._put, events, strict, logs)
        for room in rooms:
            Subscription(self.watch, room)

    @property
    def ended(self) -> bool:
        return not self._open

    def _put(self, item: Item) -> None:
        assert not self.ended
        self._open -= item.last
        match item.what:
            case list():
                self.answers.append(item.room)
            case Event() as event:
                self.events[item.room].append(event)
                if event.event in (*OUTCOMES, "unknown"):
                    self.ends[item.room].append(event)
            case ClientError() as error:
                self.ends[item.room].append(error)


class Pair:
    """The model of the bridge, a client's subscriptions, and a clock. `sent` counts requests without pings."""

    def __init__(self, max_subscriptions: int = 3, streams: int = 1) -> None:
        self.model = Model(max_subscriptions, streams)
        self.client = Subscriptions(lambda: 0.5)
        self.now = 0.0
        self.connected = False
        self.ping_due = 0.0
        self.sent = 0

    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.ping_due = self.now + 20
            self.client.connected(self.model.hello(), self.now)

    def cut(self) -> None:
        self.connected = False
        self.model.cut()

    def flush(self) -> None:
        if self.connected and self.now >= self.ping_due:  # as the session does
            self.ping_due = self.now + 20
            self.model.to_bridge.append({"event": "ping"})
        if not self.connected or self.client.due() > self.now:
            return
        for text in self.client.requests(self.now):
            assert len(text) <= self.model.limits.max_message
            self.model.to_bridge.append(json.loads(text))
            self.sent += 1
        assert self.client.due() > self.now  # otherwise it would never come to rest

    def deliver(self) -> None:
        text = self.model.to_client.pop(0)
        self.client.receive(decode_frame(text), len(text), self.now)

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything come to rest, again and again until so many seconds have passed."""
        self.connect()
        end = self.now + seconds
        while self.advance() or self.now < end:
            if not self.model.busy:
                self.now += 0.5

    def advance(self) -> bool:
        """Do one step. Return False if there was nothing to do."""
        self.flush()
        if self.model.to_bridge:
            self.model.process()
        elif self.model.to_client:
            self.deliver()
        elif self.model.busy:
            self.model.complete()
        else:
            return False
        return True
