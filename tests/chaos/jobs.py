"""What is to happen to each job, and what became of it as one client saw it."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

QUEUES: Final = ("http", "sparql")
Key: TypeAlias = tuple[str, str]
"""Queue and job id."""


class Job(NamedTuple):
    """A job. `at` is when it is added, in seconds from the start; it then takes `seconds`."""

    number: int
    queue: str
    job_id: str
    at: float
    seconds: float
    fails: bool
    removed: bool

    @property
    def key(self) -> Key:
        return self.queue, self.job_id

    @property
    def reason(self) -> str:
        return f"job {self.number} fails"

    @property
    def result(self) -> dict[str, object]:
        return {"number": self.number, "pad": "x" * (self.number % 7) * 100}

    def line(self) -> str:
        """For the worker process."""
        data = {"seconds": self.seconds, "fails": self.reason if self.fails else None, "result": self.result}
        opts = {"jobId": self.job_id, "removeOnComplete": self.removed, "removeOnFail": self.removed}
        return json.dumps({"queue": self.queue, "data": data, "opts": opts})

    def ends_with(self, event: str, data: dict[str, Any]) -> bool:
        """Whether that is its outcome."""
        if self.fails:
            return event == "failed" and data.get("failedReason") == self.reason
        return event == "completed" and data.get("returnvalue") == self.result


def make_jobs(random: Random, count: int, seconds: float, *, removed: bool) -> list[Job]:
    """`count` jobs that are added over so many seconds. Two queues have the same ids. `removed`: some leave no hash."""
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
    return jobs


class Outcome(NamedTuple):
    """An outcome as it came.

    `subscription` tells two subscriptions to one room apart. `gap`: the client had gone back to an ack's
    position, since events may have been missing.
    """

    id: str | None
    replayed: bool
    subscription: object
    gap: bool = False


class Ledger:
    """What one client was told.

    Attributes:
        name: The client.
        wanted: The jobs whose outcome it must get.
        counts: Frames by kind: `live`, `replayed`, `from hash`, `gap`, and whatever else happened.
        faults: What must never be, as sentences.
        history: What the client saw of each job, for those who look into a loss.
        first: When the first outcome of each job came, on trio's clock.
    """

    def __init__(self, name: str, jobs: Iterable[Job]) -> None:
        self.name = name
        self.wanted = {job.key: job for job in jobs}
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.history: dict[str, list[str]] = defaultdict(list)
        self.first: dict[Key, float] = {}
        self._outcomes: dict[Key, list[Outcome]] = defaultdict(list)

    @property
    def lost(self) -> list[Key]:
        """The jobs whose outcome did not come."""
        return [key for key in self.wanted if key not in self._outcomes]

    @property
    def without_id(self) -> int:
        """The jobs whose first outcome did not come from a stream."""
        return sum(told[0].id is None for told in self._outcomes.values())

    @property
    def doubles(self) -> list[str]:
        """Outcomes that came twice, though nothing made that necessary."""
        found = []
        for key, told in self._outcomes.items():
            for index, outcome in enumerate(told):
                before = told[:index]
                ids = {each.id for each in before if each.id is not None}
                again = any(each.subscription == outcome.subscription for each in before)
                if again or (outcome.id is not None and ids and not outcome.gap):
                    found.append(f"{self.name} {key}: {outcome} after {before}")
        return found

    @property
    def repeated(self) -> int:
        """Outcomes that came again after a reconnect because one of both has no id, or after a gap."""
        return sum(len(told) - 1 for told in self._outcomes.values()) - len(self.doubles)

    def has(self, key: Key) -> bool:
        """Whether the job's outcome came."""
        return key in self._outcomes

    def note(self, key: Key, event: str, data: dict[str, Any], outcome: Outcome) -> None:
        """An outcome came."""
        job = self.wanted.get(key)
        if job is None or not job.ends_with(event, data):
            self.faults.append(f"{self.name}: a wrong outcome {event} {data} {outcome} of {job or key}")
        self._outcomes[key].append(outcome)
        self.first.setdefault(key, trio.current_time())

    def count_frame(self, stream_id: str | None, *, replayed: bool) -> None:
        """A job event came."""
        kind = "live" if not replayed else "replayed" if stream_id is not None else "from hash"
        self.counts[kind] += 1
