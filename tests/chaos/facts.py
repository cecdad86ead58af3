"""Collects what a run is judged by: what clients got, what they should have got, and what Redis had."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import trio

from tests.chaos.appendonly import Streams, read
from tests.chaos.report import Report, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.course import Course
    from tests.chaos.jobs import Job, Key, Ledger
    from tests.chaos.watcher import Watcher
    from tests.chaos.world import World


class Facts:
    """What is known of a run.

    Args:
        world: The processes and proxies of the run.
        course: The plan of queues and jobs.
        ledgers: What the clients got that follow jobs.
        watchers: The clients that watch whole queues.
    """

    def __init__(self, world: World, course: Course, ledgers: Sequence[Ledger], watchers: Sequence[Watcher]) -> None:
        self._world = world
        self._course = course
        self._ledgers = ledgers
        self._watchers = watchers
        self._server = ("", True)
        self._ends: dict[Key, float] = {}
        self._streams = Streams()
        self._trouble: list[str] = []

    async def settle(self, patience: float) -> None:
        """Wait until every client has everything, or until nothing has come for so many seconds."""
        before, deadline = -1, 0.0
        while (
            missing := len(self._unfinished())
            + len(self._unconfirmed())
            + sum(len(each.lost) for each in self._ledgers)
        ):
            now = trio.current_time()
            if missing != before:
                before, deadline = missing, now + patience
            if now > deadline:
                return
            await trio.sleep(0.2)

    def take(self) -> None:
        """Read from Redis what the report needs, before Redis ends."""
        redis, directory = self._world.redis, self._world.server.directory
        assert directory is not None
        self._server = describe(redis)
        self._ends = self._ended()
        self._streams = read(directory)
        self._trouble = self._streams.differ(redis)
        self._trouble += [f"{job.key} was never finished" for job in self._unfinished()]
        self._trouble += self._unconfirmed()

    def _ended(self) -> dict[Key, float]:
        """Return, for each finished job that Redis still has, when it was finished, on trio's clock."""
        shift = trio.current_time() - time.time()
        return {
            (queue, job_id.decode()): milliseconds / 1000 + shift
            for queue in self._course.queues
            for state in ("completed", "failed")
            for job_id, milliseconds in self._world.redis.zrange(f"bull:{queue}:{state}", 0, -1, withscores=True)
        }

    def _unfinished(self) -> list[Job]:
        """Return the jobs that should be finished in Redis and are not."""
        ended = self._ended()
        return [job for job in self._course.jobs if not job.removed and not job.doomed and job.key not in ended]

    def _unconfirmed(self) -> list[str]:
        if not self._watchers:
            return []
        redis, ends = self._world.redis, {}
        for queue in self._course.queues:
            for id, _ in redis.xrevrange(f"bull:{queue}:events", count=1):
                ends[queue] = id.decode()
        return [
            f"{watcher.name} was never told that it has everything of {queue} up to {ends[queue]}"
            for watcher in self._watchers
            for queue in watcher.unconfirmed(ends)
        ]

    def report(self, trouble: Sequence[str], seconds: float) -> Report:
        """Return the report. `trouble` has sentences about what else went wrong. `seconds` is how long the run took."""
        plan, ledgers, watchers = self._world.plan, self._ledgers, self._watchers
        judgements = [
            watch.judge(self._streams.entries[queue])
            for watcher in watchers
            for queue, watches in watcher.watches.items()
            for watch in watches
        ]
        frames: Counter[str] = Counter()
        bridge: Counter[str] = Counter()
        watched: Counter[str] = Counter()
        for counts in (*(each.counts for each in ledgers), *(each.counts for each in watchers)):
            frames += counts
        for each in self._world.bridges:
            bridge += each.counts
        for judgement in judgements:
            watched += judgement.counts
        late = [
            came - max(self._world.whole_at, self._ends.get(job.key, 0.0))
            for ledger in ledgers
            for job, came in ledger.came.items()
        ]
        watching = f", {len(watchers)} watchers of {len(self._course.queues)} queues" if watchers else ""
        return Report(
            kind=plan.name,
            seed=plan.seed,
            size=f"{len(self._course.jobs)} jobs x {len(ledgers)} clients{watching}",
            server=self._server[0],
            is_counted=self._server[1],
            lost=[_loss(ledger, key) for ledger in ledgers for key in ledger.lost],
            doubles=[double for ledger in ledgers for double in ledger.doubles]
            + [line for judgement in judgements for line in judgement.doubles],
            silent=[line for judgement in judgements for line in judgement.silent],
            faults=[fault for ledger in ledgers for fault in ledger.faults]
            + [fault for watcher in watchers for fault in watcher.faults]
            + [line for judgement in judgements for line in judgement.wrong],
            trouble=[*self._trouble, *trouble, *(line for each in self._world.bridges for line in each.trouble)],
            from_hash=sum(ledger.from_hash for ledger in ledgers),
            repeated=sum(ledger.repeated for ledger in ledgers),
            watched=watched,
            frames=frames,
            bridge=bridge,
            broken=self._world.broken,
            seconds=seconds,
            late=max(late, default=0.0),
        )


def _loss(ledger: Ledger, key: Key) -> str:
    return "\n      ".join([f"{ledger.name} lost {key}", *ledger.history[key[1]]])
