"""What is to happen to each job, and what became of it as one client saw it."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Key: TypeAlias = tuple[str, str]
"""Queue and job id."""


class Job(NamedTuple):
    """A job. `at` is when it is added, in seconds from the start; it then takes `seconds`.

    `removed`: BullMQ deletes it when it ends. `doomed`: its queue is obliterated, perhaps before it ends.
    """

    number: int
    queue: str
    job_id: str
    at: float
    seconds: float
    fails: bool
    removed: bool
    doomed: bool = False

    @property
    def key(self) -> Key:
        return self.queue, self.job_id

    @property
    def reason(self) -> str:
        return f"job {self.number} fails"

    @property
    def result(self) -> dict[str, object]:
        return {"number": self.number, "pad": "x" * (self.number % 7) * 100}

    def task(self) -> dict[str, object]:
        """As BullMQ takes it, for the worker process."""
        data = {"seconds": self.seconds, "fails": self.reason if self.fails else None, "result": self.result}
        opts = {"jobId": self.job_id, "removeOnComplete": self.removed, "removeOnFail": self.removed}
        return {"name": "chaos", "data": data, "opts": opts}

    def ends_with(self, event: str, data: dict[str, Any]) -> bool:
        """Whether that is its outcome."""
        if self.fails:
            return event == "failed" and data.get("failedReason") == self.reason
        return event == "completed" and data.get("returnvalue") == self.result


Lives: TypeAlias = "Mapping[Key, Sequence[Job]]"
"""The jobs that have an id, one after the other: obliterated queues use ids again. Mostly it is one."""


class Outcome(NamedTuple):
    """An outcome as it came.

    `subscription` tells two subscriptions to one room apart. `gap`: it may be one that came before, since there was a
    gap, or the stream has lost it.
    """

    id: str | None
    replayed: bool
    subscription: object
    gap: bool = False


class Ledger:
    """What one client was told.

    Attributes:
        name: The client.
        wanted: The jobs whose outcome it must get, by what it asks for.
        alive: The jobs that it was told of in this connection, without their end.
        counts: Frames by kind: `live`, `replayed`, `from hash`, `gap`, and whatever else happened.
        faults: What must never be, as sentences.
        history: What the client saw of each job, for those who look into a loss.
        came: When the first outcome of each job came, on trio's clock.
    """

    def __init__(self, name: str, wanted: Lives) -> None:
        self.name = name
        self.wanted = wanted
        self.alive: set[Key] = set()
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.history: dict[str, list[str]] = defaultdict(list)
        self.came: dict[Job, float] = {}
        self._over: set[Key] = set()
        self._outcomes: dict[Job, list[Outcome]] = defaultdict(list)
        self._removed: dict[tuple[Key, object], int] = Counter()

    @property
    def lost(self) -> list[Key]:
        """The ids whose outcome did not come: of the last job if Redis still has that, else of one that was seen."""
        return [
            key
            for key, lives in self.wanted.items()
            if (lives[-1] not in self._outcomes and key not in self._over and not lives[-1].doomed) or key in self.alive
        ]

    def is_over(self, key: Key) -> bool:
        """Whether an outcome came, and nothing more was asked for."""
        return key in self._over

    @property
    def from_hash(self) -> int:
        """The jobs whose first outcome did not come from a stream."""
        return sum(told[0].id is None or "~" in told[0].id for told in self._outcomes.values())

    @property
    def doubles(self) -> list[str]:
        """Outcomes that came twice, though nothing made that necessary."""
        found = []
        for job, told in self._outcomes.items():
            for index, outcome in enumerate(told):
                before = told[:index]
                ids = {each.id for each in before if each.id is not None}
                again = any(each.subscription == outcome.subscription for each in before)
                if not outcome.gap and (again or (outcome.id is not None and ids)):
                    line = f"{self.name} {job.key}: {outcome} after {before}"
                    found.append("\n      ".join([line, *self.history[job.job_id]]))
        for (key, subscription), count in self._removed.items():
            ended = [job for job in self.wanted[key] if self._was_told(job, subscription)]
            if count + len(ended) > len(self.wanted[key]):
                line = f"{self.name} {key} was told to be removed {count} times, beside outcomes of {ended}"
                found.append("\n      ".join([line, *self.history[key[1]]]))
        return found

    def _was_told(self, job: Job, subscription: object) -> bool:
        return any(each.subscription == subscription for each in self._outcomes.get(job, ()))

    @property
    def repeated(self) -> int:
        """Outcomes that came again, after a gap or since a stream has lost them."""
        return max(0, sum(len(told) - 1 for told in self._outcomes.values()) - len(self.doubles))

    def note(self, key: Key, event: str, data: dict[str, Any], outcome: Outcome, *, over: bool = True) -> None:
        """An outcome came. `over`: nothing more is asked for of that id."""
        self.alive.discard(key)
        self.history[key[1]].append(f"{trio.current_time():.3f} told of {event} in {key[0]}: {data} {outcome}")
        lives = self.wanted.get(key, ())
        if event == "removed" and any(job.doomed for job in lives):
            self._removed[key, outcome.subscription] += 1
            self._over |= {key} if over else set()
            return
        ended = next((job for job in lives if job.ends_with(event, data)), None)
        if ended is None:
            self.faults.append(f"{self.name}: a wrong outcome {event} {data} {outcome} of {key}, which is {lives}")
            return
        self._over |= {key} if over else set()
        self._outcomes[ended].append(outcome)
        self.came.setdefault(ended, trio.current_time())

    def count_frame(self, stream_id: str | None, *, replayed: bool) -> None:
        """A job event came."""
        from_stream = stream_id is not None and "~" not in stream_id
        kind = "live" if not replayed else "replayed" if from_stream else "from hash"
        self.counts[kind] += 1
