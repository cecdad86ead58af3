"""The steps that all walks of returning share: Redis changes, two bridges read it later, and clients come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from tests.hub.world import Bridge, Redis

if TYPE_CHECKING:
    from collections.abc import Callable

AnyRedis = TypeVar("AnyRedis", bound=Redis)
AnyBridge = TypeVar("AnyBridge", bound=Bridge)


class Steps(ABC, Generic[AnyRedis, AnyBridge]):
    """Redis, and two bridges. Each method without an argument is a step, which the walk chooses at random.

    Args:
        choose: Draws a number below its argument.
        redis: The Redis, in which some events may have happened.
        harsh: Whether streams also lose entries.
    """

    def __init__(self, choose: Callable[[int], int], redis: AnyRedis, *, harsh: bool) -> None:
        self.choose = choose
        self.redis = redis
        self.harsh = harsh
        for _ in range(choose(8)):
            redis.write()
        self.bridges = [self.new_bridge() for _ in range(2)]

    @abstractmethod
    def new_bridge(self) -> AnyBridge:
        """Return a bridge that has just started."""

    def bridge(self) -> AnyBridge:
        return self.bridges[self.choose(len(self.bridges))]

    def queue(self) -> str:
        return self.redis.queues[self.choose(len(self.redis.queues))]

    def place(self, present: AnyBridge, *, may_stop: bool) -> AnyBridge:
        """Return the bridge to which a client of `present` returns.

        It is the same, any, or one that has just started in its place; this one only if it `may_stop`.
        """
        match self.choose(3):
            case 0 if may_stop:
                number = self.bridges.index(present)
                present.stop()
                self.bridges[number] = self.new_bridge()
                return self.bridges[number]
            case 1:
                return self.bridge()
            case _:
                return present

    def write(self) -> None:
        self.redis.write()

    def read(self) -> None:
        self.bridge().read(self.queue(), 1 + self.choose(4))

    def check(self) -> None:
        self.bridge().check(self.queue())

    def sweep(self) -> None:
        self.bridge().sweep(self.queue())

    def look(self) -> None:
        self.bridge().look()

    def answer(self) -> None:
        self.bridge().answer()

    def read_back(self) -> None:
        self.bridge().read_back()

    def trim(self) -> None:
        if self.harsh:
            self.redis.trim(self.choose(4), self.queue())

    def overrun(self) -> None:
        """Write more entries than the stream keeps, before it is read."""
        if self.harsh:
            for _ in range(1 + self.choose(3)):
                self.redis.write()
            self.redis.trim(1, self.queue())
