"""What each job does, and what one client saw of the jobs."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Key: TypeAlias = tuple[str, str]
"""A queue and a job id."""


class Job(NamedTuple):
    """A job of the plan. It is added at the time `at`, in seconds from the start, and takes `seconds`.

    `removed` means that BullMQ removes the job when it ends. `doomed` means that its queue is obliterated, perhaps
    before the job ends.
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
        """Return the job as the worker process adds it to BullMQ."""
        data = {"seconds": self.seconds, "fails": self.reason if self.fails else None, "result": self.result}
        opts = {"jobId": self.job_id, "removeOnComplete": self.removed, "removeOnFail": self.removed}
        return {"name": "chaos", "data": data, "opts": opts}

    def ends_with(self, event: str, data: dict[str, Any]) -> bool:
        """Whether an event is the outcome that this job must have."""
        if self.fails:
            return event == "failed" and data.get("failedReason") == self.reason
        return event == "completed" and data.get("returnvalue") == self.result


Lives: TypeAlias = "Mapping[Key, Sequence[Job]]"
"""By queue and id, the jobs that have this id, one after the other.

It is one job, unless its queue was obliterated and uses ids again.
"""


class Outcome(NamedTuple):
    """An outcome that a client got.

    `subscription` is the name of the subscription that got it. `gap` means that the same outcome may have come before:
    there was a gap, or the outcome comes from the job's hash.
    """

    id: str | None
    replayed: bool
    subscription: object
    gap: bool = False


class Ledger:
    """What one client got.

    Attributes:
        name: The name of the client.
        wanted: The jobs whose outcomes it must get, by the queue and id that it asks for.
        alive: The jobs that it has seen alive over the present connection, and whose outcomes have not come.
        counts: How many frames of each kind came (`live`, `replayed`, `from hash`, `gap`), and what else happened.
        faults: A sentence for each thing that must never happen.
        history: By job id, what the client saw, for a person who looks for the cause of a loss.
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
        """The ids whose outcome did not come.

        It must be that of the last job with this id. If the queue of that was obliterated, it must be that of a job
        that the client saw alive.
        """
        return [
            key
            for key, lives in self.wanted.items()
            if (lives[-1] not in self._outcomes and key not in self._over and not lives[-1].doomed) or key in self.alive
        ]

    def is_over(self, key: Key) -> bool:
        """Whether an outcome came for this id, and the client asked for nothing more."""
        return key in self._over

    @property
    def from_hash(self) -> int:
        """The number of jobs whose first outcome came from the hash and not from the stream."""
        return sum(told[0].id is None or "~" in told[0].id for told in self._outcomes.values())

    @property
    def doubles(self) -> list[str]:
        """Sentences about outcomes that came twice without a reason."""
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
        """The number of outcomes that came again for a reason: after a gap, or from a hash."""
        return max(0, sum(len(told) - 1 for told in self._outcomes.values()) - len(self.doubles))

    def note(self, key: Key, event: str, data: dict[str, Any], outcome: Outcome, *, over: bool = True) -> None:
        """Take note that an outcome came. `over` means that the client asks for nothing more with this id."""
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
        """Take note that an event of a job came. `stream_id` is its id; None if it has none."""
        from_stream = stream_id is not None and "~" not in stream_id
        kind = "live" if not replayed else "replayed" if from_stream else "from hash"
        self.counts[kind] += 1
