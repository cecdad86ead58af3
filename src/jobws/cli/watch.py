"""Displays the states of jobs for `jobws watch`: as a live table on a terminal, and as plain lines elsewhere."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, TypeGuard

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobws.client import connect
from jobws.protocol.messages import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from jobws.client import Event
    from jobws.client.connection.token import Token

COMPLETED: Final = 0
FAILED: Final = 1
UNKNOWN: Final = 4
TIMED_OUT: Final = 5
# By event, the state that it leads to, if this has another name than the event.
_STATES: Final = {"added": "waiting", "stalled": "stalled", "retries-exhausted": "failed", "progress": "active"}
_ENDS: Final = {"completed": COMPLETED, "failed": FAILED, "removed": UNKNOWN, "unknown": UNKNOWN}
_STYLES: Final = {"completed": "green", "failed": "red", "removed": "red", "unknown": "red", "active": "cyan"}
_SHOWN_CHARACTERS: Final = 2000


class Job:
    """A watched job, and what is known about it.

    Attributes:
        queue: The label of its queue; empty while unknown.
        state: What to display: `subscribed`, `submitted`, `unknown`, or a state or event of BullMQ.
        progress: Its progress; None if unknown.
        outcome: Its result, or the reason why it failed; None if unknown.
        since: When this object was made, on the clock `time.monotonic`.
        ended_after: How many seconds after `since` the job ended; None if it has not ended.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.queue = ""
        self.state = "subscribed"
        self.progress: object = None
        self.outcome: object = None
        self.since = time.monotonic()
        self.ended_after: float | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit code that the job's outcome gives; None if the job has not ended."""
        return _ENDS.get(self.state)

    def enter(self, state: str, queue: object) -> None:
        """Set `state`, `queue` (unless None), and `ended_after` if the job has ended with this state."""
        self.state = state
        if isinstance(queue, str):
            self.queue = queue
        if self.exit_code is not None:
            self.ended_after = time.monotonic() - self.since

    def take(self, snapshot: Mapping[str, object]) -> None:
        """Replace state, queue, progress and outcome by those of a snapshot.

        The snapshot must have `state` and `queue`. Without progress or outcome in the snapshot, the job has None.
        """
        self.progress = snapshot.get("progress")
        self.outcome = snapshot.get("returnvalue", snapshot.get("failedReason"))
        self.enter(str(snapshot["state"]), snapshot["queue"])

    def line(self, *, results: bool = True, bars: bool = False) -> str:
        """Return the job as one plain line: queue, id and state.

        An active job's progress follows, or an ended job's outcome if `results` is true. With `bars`, progress that is
        a number is a bar and a percentage.
        """
        name = f"{self.queue}/{self.job_id}" if self.queue else self.job_id
        ended = self.exit_code is not None
        detail = (self.outcome if results else None) if ended else self.progress if self.state == "active" else None
        if bars and not ended and _is_percentage(detail):
            filled = round(_clamped(detail) / 5)
            detail = f"[{filled * '#'}{(20 - filled) * '.'}] {detail} %"
        return printable(f"{name} {self.state}" + ("" if detail is None else f" {_shown(detail)}"))


def printable(text: str) -> str:
    """Return `text` as one line, with control characters escaped: producers and workers may send any text."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def line_of(snapshot: dict[str, object]) -> str:
    """Return a snapshot as one plain line, such as `http/7 completed 42`. It must have `jobId`, `queue` and `state`."""
    job = Job(str(snapshot["jobId"]))
    job.take(snapshot)
    return job.line()


class Board:
    """The watched jobs, and their display.

    Args:
        job_ids: The jobs that are watched from the start.
        console: Where to display them.
        results: Whether to display outcomes.
        bars: Whether plain lines show progress as bars, too; a live table always does.
    """

    def __init__(self, job_ids: Sequence[str], console: Console, *, results: bool = True, bars: bool = False) -> None:
        self._results = results
        self._bars = bars
        self.jobs = {job_id: Job(job_id) for job_id in job_ids}
        self._below: dict[tuple[object, str], Job] = {}
        self.console = console
        self._plain = not console.is_terminal

    def shown(self) -> AbstractContextManager[object]:
        """Return a context that displays the jobs live on a terminal. Elsewhere the context does nothing."""
        return nullcontext() if self._plain else Live(self, console=self.console, refresh_per_second=10)

    def submitted(self, job_id: str, queue: str) -> None:
        """Add and display a job that this program has submitted, and to which it subscribes next."""
        job = self.jobs[job_id] = Job(job_id)
        job.enter("submitted", queue)
        self._say(job)

    def subscribed(self, job_id: str, snapshots: Sequence[dict[str, object]]) -> None:
        """Display that a job is subscribed, then the state in the first of `snapshots`.

        The state of a job that has ended is not displayed yet, since its outcome follows as an event.
        """
        job = self.jobs[job_id]
        job.enter("subscribed", None)
        self._say(job)
        for snapshot in snapshots[:1]:
            if snapshot["state"] not in OUTCOMES:
                job.take(snapshot)
                self._say(job)

    def take(self, event: Event) -> None:
        """Display what an event says about its job. Ignore `gap`, ended jobs, and jobs that are not on the board.

        A job below in a flow is added.
        """
        job_id = str(event.data.get("jobId"))
        job = self.jobs.get(job_id)
        if event.parent is not None:
            job = self._below.setdefault((event.data.get("queue"), job_id), Job(job_id))
        if job is None or job.exit_code is not None or event.event == "gap":
            return
        if event.event == "job-log":
            self._print_lines(event)
            return
        before = job.line()
        if event.event == "progress":
            job.progress = event.data.get("data")
        job.outcome = event.data.get("returnvalue", event.data.get("failedReason"))
        job.enter(_STATES.get(event.event, event.event), event.data.get("queue"))
        if job.line() != before:
            self._say(job)

    def _print_lines(self, event: Event) -> None:
        """Print the lines of an event `job-log`. On a terminal, they appear above the live display."""
        lines = event.data.get("lines")
        texts = [line for text in lines for line in str(text).split("\n")] if isinstance(lines, list) else []
        if event.data.get("gap"):
            texts.insert(0, "(lines may be missing here)")
        for text in texts:
            line = printable(f"{event.data.get('queue')}/{event.data.get('jobId')} | {text}")
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def exit_code(self) -> int | None:
        """Return the highest exit code of the jobs, or None while one has not ended. Jobs below them do not count."""
        codes = [job.exit_code for job in self.jobs.values()]
        known = [code for code in codes if code is not None]
        return max(known) if len(known) == len(codes) else None

    def __rich__(self) -> RenderableType:
        """Return what rich displays."""
        table = Table(box=None, header_style="dim")
        for name in ("queue", "job", "state", "progress", "elapsed"):
            table.add_column(name)
        results: list[RenderableType] = []
        for job in (*self.jobs.values(), *self._below.values()):
            elapsed = job.ended_after if job.ended_after is not None else time.monotonic() - job.since
            state = Text(job.state, _STYLES.get(job.state, ""))
            table.add_row(
                printable(job.queue), printable(job.job_id), state, _progress(job.progress), f"{elapsed:.1f} s"
            )
            if self._results and job.outcome is not None:
                results.append(Text(printable(f"{job.job_id}: {_shown(job.outcome)}"), _STYLES.get(job.state, "")))
        return Group(table, *results)

    def _say(self, job: Job) -> None:
        if self._plain:
            self.console.print(
                job.line(results=self._results, bars=self._bars), markup=False, highlight=False, soft_wrap=True
            )


def _progress(value: object) -> RenderableType:
    if _is_percentage(value):
        return ProgressBar(total=100, completed=_clamped(value), width=20)
    return "" if value is None else printable(_shown(value))


def _is_percentage(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _clamped(value: float) -> float:
    return min(max(float(value), 0.0), 100.0)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"


async def watch(
    url: str,
    job_ids: Sequence[str],
    *,
    queue: str | None,
    expect: bool,
    timeout_seconds: float | None,
    console: Console,
    logs: bool = False,
    children: bool = False,
    token: Token | None = None,
) -> int:
    """Display jobs until each of them has ended. Return the highest of their exit codes, or 5 after the time-out.

    Args:
        url: The bridge's base URL.
        job_ids: The ids of the jobs.
        queue: The label of their queue; None for any queue.
        expect: Whether to wait for jobs that do not exist yet. If not, such a job is `unknown`, and has ended.
        timeout_seconds: How long to wait for the jobs; None means no limit.
        console: Where to display the jobs.
        logs: Whether to print the lines that workers write with `job.log()`.
        children: Whether to display also the jobs below the jobs in their flows. The exit code is not about them.
        token: The token for the bridge, as `connect` takes it.

    Raises:
        ClientError: The bridge cannot be reached, or refuses. If the connection is lost later, nothing is raised: it is
            opened again.
    """
    board = Board(job_ids, console)
    with trio.move_on_after(float("inf") if timeout_seconds is None else timeout_seconds):
        async with (
            connect(url, token=token) as jobs,
            jobs.watch(job_ids, queue, events=["*"], expect=expect, logs=logs, children=children) as events,
        ):
            with board.shown():
                for job_id in job_ids:
                    board.subscribed(job_id, events.snapshots.get(job_id, ()))
                async for event in events:
                    board.take(event)
    code = board.exit_code()
    return TIMED_OUT if code is None else code
