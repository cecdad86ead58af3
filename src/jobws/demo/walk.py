"""Runs the demo's jobs: one for each queue, and one that fails. Submits them over HTTP, and shows their events."""

from __future__ import annotations

from itertools import dropwhile, islice
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import anyio
import anyio.to_thread

from jobws.cli.watch import Board
from jobws.client import Event, connect, connect_logs
from jobws.demo.job import SOURCE, is_ignored
from jobws.demo.show import say_missing, show_outcome
from jobws.demo.worker_log import WorkerLog
from jobws.protocol.messages import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rich.console import Console


WALK_SECONDS: Final = 90.0
MAX_TRIPLES: Final = 1000
# The events, except `progress`, that BullMQ writes from the moment when a worker takes the job.
_SUCCESS: Final = ("active", "completed")
_FAILURE: Final = ("active", "waiting", "active", "failed")
_STEPS: Final = frozenset(_SUCCESS + _FAILURE)
MISSING: Final = "no-such-directory"
SIZE: Final = "urn:demo:bytes"


class Task(NamedTuple):
    """A job to submit, and the events to expect of it, from the first `active` on and without `progress`."""

    queue: str
    data: dict[str, object]
    expected: tuple[str, ...] = _SUCCESS
    opts: dict[str, object] | None = None


def tasks_about(root: Path, page: str) -> list[Task]:
    """Return the jobs. That of the queue `http` fetches the URL `page`; the others are about the files below `root`."""
    return [
        Task("http", {"url": page}),
        Task("sparql", {"update": f"INSERT DATA {{\n{_triples(root)}\n}}"}),
        Task("techstack", {"path": "."}),
        Task("analyzer", {"path": "."}),
        Task("techstack", {"path": MISSING}, _FAILURE, {"attempts": 2}),
    ]


class Walk(NamedTuple):
    """What came of the demo's jobs.

    Attributes:
        outcomes: The outcome of each job that ended in time, in the order in which they came.
        complete: Whether all expected events came, and one log line of the worker for the end of each attempt.
    """

    outcomes: list[Event]
    complete: bool


async def walk(url: str, tasks: list[Task], start_worker: Callable[[], None], console: Console) -> Walk:
    """Submit the jobs, subscribe, start the worker, and show what happens.

    The worker is started last, so that no event of a job is missed. After 90 s, what has not come counts as missing.

    Raises:
        ClientError: The bridge refused a request, or is gone.
    """
    board = Board([], console, results=False, bars=True)
    jobs: dict[str, Task] = {}
    events: list[Event] = []
    logged = True
    with anyio.move_on_after(WALK_SECONDS):
        async with connect(url) as client, connect_logs(url, source=SOURCE) as lines:
            log = WorkerLog(lines, console)
            with board.shown():
                for task in tasks:
                    submitted = await client.submit(task.queue, task.data, opts=task.opts)
                    jobs[submitted.job_id] = task
                    board.submitted(submitted.job_id, task.queue)
                async with client.watch(jobs, events=["*"]) as watched, log.shown():
                    for job_id in jobs:
                        board.subscribed(job_id, watched.snapshots.get(job_id, ()))
                    await anyio.to_thread.run_sync(start_worker)
                    async for event in watched:
                        events.append(event)
                        if event.event in OUTCOMES:
                            job_id = str(event.data["jobId"])
                            if not await log.told(job_id, jobs[job_id].expected.count("active")):
                                logged = False
                                say_missing(f"{event.data['queue']}/{job_id}: its end is not in the log", console)
                        board.take(event)
                        if event.event in OUTCOMES:
                            show_outcome(event, console)
    complete = bool(jobs) and logged
    for job_id, task in jobs.items():
        complete &= _is_complete(job_id, task, events, console)
    return Walk([event for event in events if event.event in OUTCOMES], complete)


def _is_complete(job_id: str, task: Task, events: list[Event], console: Console) -> bool:
    steps = [event.event for event in events if event.data.get("jobId") == job_id and event.event in _STEPS]
    arrived = list(dropwhile(lambda event: event != "active", steps))
    if arrived == list(task.expected):
        return True
    line = f"{task.queue}/{job_id}: expected {', '.join(task.expected)}; got {', '.join(arrived) or 'nothing'}"
    say_missing(line, console)
    return False


def _triples(root: Path) -> str:
    """Return a line of SPARQL for each of the first 1000 files: a triple with the file's size in bytes."""
    files = islice(_files(root), MAX_TRIPLES)
    return "\n".join(
        f"<urn:demo:file:{quote(str(file.relative_to(root)))}> <{SIZE}> {file.stat().st_size} ." for file in files
    )


def _files(directory: Path) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.is_symlink() or is_ignored(entry.name):
            continue
        if entry.is_dir():
            yield from _files(entry)
        elif entry.is_file():
            yield entry
