"""A bridge that measures its longest steps: `python -m tests.bench.steps REDIS_URL [SETTINGS]`, with settings as JSON.

A step is what a task does before other tasks run. Its time is CPU time of the thread, so other processes do not
lengthen it. The time of the garbage collector is measured apart. A round is what all tasks do between two waits for
sockets: an event of a job that comes meanwhile waits for its end. For each line on standard input, the process prints a
line of JSON: the longest steps since the line before, and as `parts` what the longest round consisted of. The line
`collect` collects all garbage first.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections import defaultdict
from typing import Any

import trio

from jobws.server.serve import run
from jobws.server.settings import Settings

# For a longer step, the functions that ran are noted, too.
SECONDS_TO_DESCRIBE = 0.010


class Recorder(trio.abc.Instrument):
    """Measures the longest steps by function, and the longest garbage collections by generation."""

    def __init__(self) -> None:
        self._steps: dict[str, float] = defaultdict(float)
        self._collections: dict[int, list[float]] = defaultdict(list)
        self._began = self._collected = self._collecting = self._woken = 0.0
        self._rounds: list[float] = []
        self._worst = 0.0
        # What took time in the present round and in the longest one, in seconds, by function.
        self._parts: dict[str, float] = defaultdict(float)
        self._parts_of_longest: dict[str, float] = {}
        self._longest_round = 0.0
        gc.callbacks.append(self._collect)

    def _collect(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            took = time.thread_time() - self._collecting
            self._collected += took
            self._parts["garbage"] += took
            self._collections[info["generation"]].append(took)

    def after_io_wait(self, _timeout: float) -> None:
        self._parts.clear()
        self._woken = time.thread_time()

    def before_io_wait(self, _timeout: float) -> None:
        if self._woken:
            took = time.thread_time() - self._woken
            if took > self._longest_round:
                self._longest_round = took
                self._parts_of_longest = {**self._parts, "between steps": took - sum(self._parts.values())}
            self._rounds.append(took)

    def before_task_step(self, _task: trio.lowlevel.Task) -> None:
        self._collected = 0.0
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self._began:
            return  # the step began before this instrument was added
        took = time.thread_time() - self._began - self._collected
        self._worst = max(self._worst, took)
        self._parts[_name(task.coro)] += took
        if took >= SECONDS_TO_DESCRIBE:
            where = _where(task.coro)
            self._steps[where] = max(self._steps[where], took)

    def take(self) -> dict[str, Any]:
        """Return the longest steps and collections since the last call, in milliseconds."""
        steps, self._steps = self._steps, defaultdict(float)
        collections, self._collections = self._collections, defaultdict(list)
        worst, self._worst = self._worst, 0.0
        rounds, self._rounds = sorted(self._rounds), []
        parts, self._parts_of_longest, self._longest_round = self._parts_of_longest, {}, 0.0
        longest = sorted(steps.items(), key=lambda item: -item[1])
        return {
            "longest": worst * 1000,
            "rounds": {
                "p99": rounds[len(rounds) * 99 // 100] * 1000,
                "p99.9": rounds[len(rounds) * 999 // 1000] * 1000,
                "longest": rounds[-1] * 1000,
            },
            "parts": dict(sorted(((part, round(took * 1000, 1)) for part, took in parts.items()), key=lambda x: -x[1])),
            "steps": {where: round(took * 1000, 1) for where, took in longest[:8]},
            "collections": {
                str(generation): [len(times), round(max(times) * 1000, 1)]
                for generation, times in sorted(collections.items())
            },
            "objects": len(gc.get_objects()),
        }


def _where(coroutine: Any) -> str:
    """Return the functions of a task that wait for each other, the innermost last."""
    names = []
    while coroutine is not None:
        names.append(_name(coroutine))
        coroutine = getattr(coroutine, "cr_await", None)
    return " > ".join(names[:6])


def _name(coroutine: Any) -> str:
    return getattr(coroutine, "__name__", type(coroutine).__name__)


def main() -> None:
    redis, *options = sys.argv[1:]
    settings: dict[str, Any] = {"redis": redis, "port": 0, **json.loads(options[0] if options else "{}")}
    settings["queues"] = tuple(settings.get("queues", ("*",)))
    recorder = Recorder()

    def answer() -> None:
        for line in sys.stdin:
            if line == "collect\n":
                gc.collect()
            print(json.dumps(recorder.take()), flush=True)

    def started(url: str) -> None:
        trio.lowlevel.add_instrument(recorder)
        print(json.dumps({"url": url}), flush=True)
        threading.Thread(target=answer, daemon=True).start()

    run(Settings(**settings), started)


if __name__ == "__main__":
    main()
