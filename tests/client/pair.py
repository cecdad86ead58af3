"""A client's rooms at the bridge of `model.py`, with a clock, and those who watch them."""

from __future__ import annotations

import json
from typing import Any

from jobws.client.event import decode_frame
from jobws.client.rooms import Rooms
from jobws.client.watcher import Answer, Delivery, Refusal, Watcher
from jobws.protocol.messages import OUTCOMES, Room
from tests.client.model import Model


class User:
    """A watcher and what it was handed."""

    def __init__(self, rooms: list[Room], events: frozenset[str] | None, *, strict: bool = False) -> None:
        self.events: dict[Room, list[Any]] = {room: [] for room in rooms}
        self.ends: dict[Room, list[object]] = {room: [] for room in rooms}
        self.answers: list[Room] = []
        self.watcher = Watcher(rooms, events, strict=strict, gaps=True, put=self._put)

    def _put(self, item: Answer | Delivery | Refusal) -> None:
        match item:
            case Answer():
                self.answers.append(item.room)
            case Delivery():
                self.events[item.room].append(item.event)
                if item.event.event in OUTCOMES:
                    self.ends[item.room].append(item.event)
            case Refusal():
                self.ends[item.room].append(item.error)


class Pair:
    """The model, a client's rooms, and a clock."""

    def __init__(self, max_subscriptions: int = 3, streams: int = 1) -> None:
        self.model = Model(max_subscriptions, streams)
        self.rooms = Rooms(lambda: 0.5)
        self.now = 0.0
        self.connected = False
        self.sent = 0

    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.rooms.connected(self.model.hello(), self.now)

    def cut(self) -> None:
        self.connected = False
        self.model.cut()
        self.rooms.disconnected()

    def flush(self) -> None:
        for text in self.rooms.requests(self.now):
            assert len(text) <= self.model.limits.max_message
            self.model.to_bridge.append(json.loads(text))
            self.sent += 1

    def deliver(self) -> None:
        text = self.model.to_client.pop(0)
        self.rooms.receive(decode_frame(text), len(text), self.now)

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything come to rest, and again until so much time has passed."""
        self.connect()
        end = self.now + seconds
        while self.advance() or self.now < end:
            if not self.model.busy:
                self.now += 0.5

    def advance(self) -> bool:
        """One step; False: nothing was to be done."""
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
