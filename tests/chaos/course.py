"""Plans what happens to queues and jobs, and when: two queues that stay, or many that come and go."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.chaos.jobs import Job, Key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

QUEUES: Final = ("http", "sparql")
# How many entries the stream of a queue keeps that comes and goes. Redis trims whole nodes, so these must be small,
# too.
SHORT: Final = 20
NODE_ENTRIES: Final = 10
# How many jobs come together, and how often each number occurs. 40 jobs write 80 entries, most of which Redis trims
# before anyone can read them.
BURSTS: Final = {1: 25, 10: 40, 40: 32, 100: 3}
# How long a queue may exist before its first job, since BullMQ in Node writes `meta` when a program makes a Queue.
# Bridges look for queues every 5 s.
EMPTY_SECONDS: Final = (3.0, 7.0)


class Course(NamedTuple):
    """The plan of a run.

    Attributes:
        queues: The queues, and when each appears first, in seconds from the start.
        jobs: The jobs.
        lines: The lines for the worker process, and when to write each, in seconds from the start.
        config: Lines for redis.conf.
        stays: Whether the queues are there from the start, and keep every event.
    """

    queues: dict[str, float]
    jobs: list[Job]
    lines: list[tuple[float, str]]
    config: tuple[str, ...] = ()
    stays: bool = True

    @property
    def queue_options(self) -> tuple[str, ...]:
        """The options of `jobws serve` that name the queues."""
        return tuple(word for queue in self.queues if self.stays for word in ("--queue", queue)) or ("--queue", "*")

    @property
    def lives(self) -> dict[Key, list[Job]]:
        """The jobs by queue and id, in the order in which they are added.

        Several jobs may have the same id, one after the other.
        """
        lives: dict[Key, list[Job]] = defaultdict(list)
        for job in sorted(self.jobs, key=lambda job: job.at):
            lives[job.key].append(job)
        return lives


def two_queues(random: Random, count: int, seconds: float, *, removed: bool) -> Course:
    """Plan `count` jobs, which are added to two queues within so many seconds.

    The two queues have the same ids. If `removed` is true, some jobs are removed when they end.
    """
    jobs = []
    for number in range(count):
        jobs.append(
            Job(
                number,
                QUEUES[number % len(QUEUES)],
                f"j{number // len(QUEUES)}",
                random.uniform(0, seconds),
                random.choice((0, 0.01, 0.1, 0.5)),
                fails=random.random() < 0.1,
                removed=removed and random.random() < 0.3,
            )
        )
    lines = [(job.at, json.dumps({"queue": job.queue, "jobs": [job.task()]})) for job in jobs]
    return Course(dict.fromkeys(QUEUES, 0.0), jobs, sorted(lines))


def many_queues(random: Random, queues: int, seconds: float) -> Course:
    """Plan queues with short streams. Each appears, gets bursts of jobs, is obliterated, and comes back."""
    lines: list[tuple[float, dict[str, Any]]] = []
    jobs: list[Job] = []
    numbers = count()
    comes: dict[str, float] = {}
    for index in range(queues):
        queue = f"q{index}"
        uses_ids_again = random.random() < 0.5
        ids = count(index * 10_000)
        at = comes[queue] = random.uniform(0, seconds / 3)
        while True:
            if uses_ids_again:
                ids = count(index * 10_000)
            lines.append((at, {"queue": queue, "jobs": [], "maxLen": SHORT}))
            bursts = list(_bursts(random, at + random.choice((0.0, random.uniform(*EMPTY_SECONDS)))))
            end = bursts[-1][0] + random.uniform(0.1, 5)
            # In the end, most queues stay.
            back = end + random.choice((0.0, random.uniform(0, 1), random.uniform(0, 8)))
            is_last = back > seconds * 0.8
            doomed = not is_last or random.random() < 0.2
            for moment, size, at_once in bursts:
                some = [
                    Job(
                        *(next(numbers), queue, f"j{next(ids)}", moment, random.choice((0, 0, 0, 0.1))),
                        fails=random.random() < 0.1,
                        removed=False,
                        doomed=doomed,
                    )
                    for _ in range(size)
                ]
                jobs += some
                line = {"queue": queue, "jobs": [job.task() for job in some], "maxLen": SHORT, "atOnce": at_once}
                lines.append((moment, line))
            if doomed:
                lines.append((end, {"queue": queue, "obliterate": random.choice(("all", "jobs"))}))
            if is_last:
                break
            at = back
    lines.sort(key=lambda line: line[0])
    config = (f"stream-node-max-entries {NODE_ENTRIES}",)
    return Course(comes, jobs, [(at, json.dumps(line)) for at, line in lines], config, stays=False)


def _bursts(random: Random, at: float) -> Iterator[tuple[float, int, bool]]:
    """Yield bursts: when each comes, how many jobs it has, and whether they are added in one transaction."""
    for _ in range(random.randint(2, 4)):
        yield at, random.choices(list(BURSTS), list(BURSTS.values()))[0], random.random() < 0.7
        at += random.uniform(0.05, 5)
