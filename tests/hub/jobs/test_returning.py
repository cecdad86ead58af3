"""Whichever frames a client has got before it breaks off, returning with its `after` loses nothing (protocol.md, R4).

Redis changes, and several bridges read it later. Clients come, leave, break off and return: to the same bridge, to
another one, or to one that has just started. Every frame is checked, and at the end nothing may be missing.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from jobws.hub.jobs.missed import FINISHED
from tests.hub.returning import Steps
from tests.hub.strict_client import Client, Watch
from tests.hub.world import JOBS, Bridge, Redis
from tests.support import SEEDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.snapshot import Job

QUEUES = ("http", "sparql", "analyzer")
CHOICES = (("*",), ("progress", "completed", "failed", "removed"), ("completed", "failed", "removed"), ("progress",))


class Model(Steps[Redis, Bridge]):
    """Redis, two bridges and two clients."""

    def __init__(self, choose: Callable[[int], int], *, harsh: bool) -> None:
        queues = QUEUES[: 1 + choose(len(QUEUES))]
        quiet = frozenset(queues[-1:]) if len(queues) > 1 and not choose(4) else frozenset()
        super().__init__(choose, Redis(choose, queues, quiet), harsh=harsh)
        self.heard = len(self.redis.written)
        self.clients = [Client(self.redis, bridge) for bridge in self.bridges]

    def new_bridge(self) -> Bridge:
        return Bridge(self.redis)

    def tick(self) -> None:
        """Do what follows each action: note which events must come to which clients, and move frames."""
        for number in range(self.heard + 1, len(self.redis.written) + 1):
            for client in self.clients:
                for watch in client.watches:
                    watch.happened(self.redis.written[number])
        self.heard = len(self.redis.written)
        for client in self.clients:
            client.fetch()
            for watch in client.watches:
                for number in self.redis.undone & watch.due.keys():
                    del watch.due[number]
        self.redis.step += 1

    def client(self) -> Client:
        return self.clients[self.choose(len(self.clients))]

    # ---- actions ----

    def wait(self) -> None:
        self.bridge().wait()

    def damage(self) -> None:
        if self.harsh:
            (self.redis.delete, self.redis.save, self.redis.restore)[self.choose(3)]()

    def pass_through(self) -> None:
        """While jobs are looked up, write and read more entries than the stream keeps, so that the history forgets
        some.
        """
        if self.harsh:
            for bridge in self.bridges:
                bridge.look()
            for _ in range(2 + self.choose(6)):
                self.redis.write()
            for queue in self.redis.queues:
                for bridge in self.bridges:
                    bridge.read(queue, 1000)
            for queue in self.redis.queues:
                self.redis.trim(self.choose(2), queue)
                for bridge in self.bridges:
                    bridge.check(queue)

    def subscribe(self) -> None:
        client = self.client()
        watches = []
        for _ in range((1, 1, 2, 4)[self.choose(4)]):
            queue = (*self.redis.queues, None)[self.choose(len(self.redis.queues) + 1)]
            events = CHOICES[self.choose(len(CHOICES))]
            if not self.choose(3):
                watches.append(Watch(self.redis, queue, None, events, until_end=False))
                continue
            watches.append(Watch(self.redis, queue, JOBS[self.choose(len(JOBS))], events, until_end=not self.choose(3)))
        if len(client.subs) < 8:
            client.watches += watches
            client.subscribe(watches, many=len(watches) > 1 or not self.choose(2), common=not self.choose(2))

    def take(self) -> None:
        client = self.client()
        client.take(1 + self.choose(4))

    def ping(self) -> None:
        self.client().ping()

    def come_back(self) -> None:
        self.reconnect(self.client())

    def come_back_twice(self) -> None:
        """Return twice, with the positions of the first answers."""
        client = self.client()
        self.reconnect(client)
        for _ in range(2 * len(client.watches)):
            client.bridge.look()
            client.bridge.answer()
        self.tick()
        self.reconnect(client)

    def reconnect(self, client: Client) -> None:
        client.disconnect(self.choose(4) if self.choose(2) else 1000)
        for _ in range(self.choose(4)):
            self.redis.write()
            self.tick()
        if self.harsh and not self.choose(3):
            self.redis.trim(self.choose(3), self.queue())
        is_shared = any(each.bridge is client.bridge and each is not client for each in self.clients)
        client.connect(self.place(client.bridge, may_stop=not is_shared))
        watches = [watch for watch in client.watches if not watch.over]
        if watches and self.choose(2):
            client.subscribe(watches, many=True, common=False)
        else:
            for watch in watches:
                client.subscribe([watch], many=False, common=False)

    def leave_and_return(self) -> None:
        client = self.client()
        there = [watch for watch in client.watches if watch.sub in client.subs and not watch.over]
        if there:
            watch = there[self.choose(len(there))]
            client.leave(watch)
            watch.disconnect(client.bridge.missed)
            client.subscribe([watch], many=False, common=False)

    def return_before_a_check(self) -> None:
        """Get what is read back, leave and return, before the bridges notice that streams have lost entries."""
        self.overrun()
        self.tick()
        self.subscribe()
        self.serve()
        for client in self.clients:
            client.take(1000)
        self.leave_and_return()
        self.serve()

    def serve(self) -> None:
        """Read streams, answer requests, and read back what clients must get."""
        for bridge in self.bridges:
            for _ in range(self.choose(12)):
                bridge.read(self.queue(), 1000)
                for step in (bridge.look, bridge.answer, bridge.read_back):
                    step()
                    self.tick()

    # ---- the end ----

    def rest(self) -> None:
        """Let everything come to rest, and check that nothing is missing."""
        self.redis.calm = True
        for _ in range(2):
            for bridge in self.bridges:
                bridge.rest()
                self.tick()
        for client in self.clients:
            client.ping()
            self.tick()
            client.take(10_000)
            for watch in client.watches:
                if not watch.over and watch.sub in client.subs:
                    self.check_watch(watch, client.bridge)
            assert not client.bridge.fanout.without_position
            for subscription in client.hub_client._subscriptions:
                assert subscription.held is None
                assert not subscription.owed

    def check_watch(self, watch: Watch, bridge: Bridge) -> None:
        assert watch.acked, "never answered"
        assert not watch.due, f"missing: {list(watch.due.values())}"
        if watch.job_id is None:
            return
        for queue in self.redis.queues if watch.queue is None else (watch.queue,):
            job: Job = queue, watch.job_id
            found = self.redis.hashes.get(job)
            if found is not None and found.state in FINISHED and watch.chooses(found.state):
                assert found.number in watch.taken or self.is_old(watch, bridge, found.number), f"lost: {queue} {found}"

    def is_old(self, watch: Watch, bridge: Bridge, number: int) -> bool:
        """Whether an outcome may be withheld, since it was a minute old at the first ack (R8).

        It may also be withheld if the job was alive again then, and a backup that was restored later undid this. No
        position shows this, so a bridge that started after that cannot know it.
        """
        if self.redis.written[number].at <= watch.began_at:
            return watch.ambiguous_at is not None or self.redis.restored_at >= 0
        is_undone = any(
            later > number and self.redis.written[later].job == self.redis.written[number].job
            for later in self.redis.undone
        )
        return is_undone and bridge.began_at >= self.redis.restored_at


ACTIONS = (
    *(Model.write,) * 6,
    *(Model.read,) * 6,
    *(Model.subscribe,) * 2,
    *(Model.look, Model.answer) * 3,
    *(Model.read_back,) * 4,
    *(Model.take,) * 4,
    *(Model.check,) * 2,
    *(Model.wait,) * 3,
    *(Model.trim, Model.sweep, Model.come_back, Model.leave_and_return, Model.overrun, Model.ping, Model.damage),
    *(Model.come_back_twice, Model.pass_through, Model.pass_through, Model.return_before_a_check),
)


def run(seed: int, *, harsh: bool, steps: int = 120) -> None:
    random = Random(seed)
    model = Model(random.randrange, harsh=harsh)
    try:
        for _ in range(steps):
            ACTIONS[random.randrange(len(ACTIONS))](model)
            model.tick()
        model.rest()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("harsh", [False, True], ids=["mild", "harsh"])
def test_anyone_who_comes_back_misses_nothing(part: int, harsh: bool) -> None:
    for seed in range(SEEDS * part, SEEDS * (part + 1)):
        run(seed, harsh=harsh)
