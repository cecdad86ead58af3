"""Measures the page at `/` in Chromium: `python -m tests.bench.page`.

It prints two tables. The first one compares the page with bull-board, each alone on the same Redis: the time from
`queue.add` to the frame that shows the job, and what watching a queue costs. The second one is what the scripts of the
page take while 500 events a second arrive in a list of 5,000 jobs. `--heap` measures instead how the JavaScript heap
grows meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.bench import busy_page
from tests.bench.board_jobs import add, commands
from tests.bench.counted import counted
from tests.bench.servers import BOARD, Events, install_opponent, redis_server, redis_version, server
from tests.bench.viewer import browser_version, viewer

if TYPE_CHECKING:
    import redis

    from tests.bench.clients import Kind
    from tests.bench.counted import CountingProxy

# By server, the address of what shows the jobs of the queue `http`, newest first.
PATHS: Final[dict[Kind, str]] = {"jobws": "/#/queues/http", "board": "/queue/http"}
FRAME_MILLISECONDS: Final = 50
TASK_MILLISECONDS: Final = 50
# The traffic adds jobs in turns, so a trace may have a turn less.
LEAST_EVENTS_PER_SECOND: Final = busy_page.EVENTS_PER_SECOND * 0.98
HEAP_GROWTH: Final = 0.05
ADD_SECONDS: Final = 1.0
# A page has loaded all it needs, and what it shows first, so long after its event `load`.
LOADED_SECONDS: Final = 3.0
# Longer than bull-board waits before it asks again.
LAST_SECONDS: Final = 8.0


class Minute(NamedTuple):
    """What a minute costs.

    Attributes:
        sent: The bytes of TCP between browser and server, in both directions.
        commands: The commands that Redis ran, also in scripts.
    """

    sent: float
    commands: float


class Watched(NamedTuple):
    """What it costs to watch a queue.

    Attributes:
        delays: From `queue.add` to the frame, in milliseconds, the shortest first.
        missed: How many jobs were never in sight.
        load_bytes: Of the first load, as TCP carries them, in both directions.
        packed_bytes: What the bodies of the first load would be if the server compressed them.
        quiet: In which nothing happens.
        busy: In which a job is added every second, without the commands that add it.
    """

    delays: list[int]
    missed: int
    load_bytes: int
    packed_bytes: int
    quiet: Minute
    busy: Minute


class Meter:
    """Counts from its construction on."""

    def __init__(self, proxy: CountingProxy, client: redis.Redis) -> None:
        self._proxy, self._client = proxy, client
        self._began = time.monotonic()
        self._before = proxy.bytes, commands(client)

    def minute(self, other_commands: int = 0) -> Minute:
        """Return what a minute cost on average, without some commands that were others'."""
        minutes = (time.monotonic() - self._began) / 60
        sent, ran = self._proxy.bytes - self._before[0], commands(self._client) - self._before[1] - other_commands
        return Minute(sent / minutes, ran / minutes)


class Plan(NamedTuple):
    """How many jobs are added, how long nothing happens before, and how many viewers look at the page."""

    adds: int
    quiet_seconds: float
    viewers: int


def watch(kind: Kind, redis_port: int, plan: Plan) -> Watched:
    """Look at the jobs of a queue in a server's page, first while nothing happens, then while jobs are added."""
    client: Any = Events(redis_port).client
    client.flushall()
    before = commands(client)
    add(redis_port, plan.adds, 0)  # the queue has jobs before anybody looks
    commands_of_adds = commands(client) - before
    options = ("--queues", "http") if kind == "jobws" else ()
    with server(kind, redis_port, *options) as running, counted(running.port) as proxy, viewer() as shown:
        shown.note_frames()
        shown.page.goto(f"http://127.0.0.1:{proxy.port}{PATHS[kind]}")
        shown.wait(LOADED_SECONDS)
        load_bytes, packed_bytes = proxy.bytes, shown.packed_bytes()
        if not shown.frames():
            raise RuntimeError(f"the page of {kind} shows no job")
        for _ in range(plan.viewers - 1):
            shown.open_another()
        shown.wait(LAST_SECONDS)
        meter = Meter(proxy, client)
        shown.wait(plan.quiet_seconds)
        quiet = meter.minute()
        meter = Meter(proxy, client)
        added = add(redis_port, plan.adds, ADD_SECONDS, shown.wait)
        busy = meter.minute(commands_of_adds)
        shown.wait(LAST_SECONDS)
        frames = shown.frames()
    delays = sorted(frames[name] - at for name, at in added.items() if name in frames)
    return Watched(delays, len(added) - len(delays), load_bytes, packed_bytes, quiet, busy)


def at_most(limit: float, value: float) -> str:
    """Return a target, and whether a value misses it."""
    return f"≤ {limit:g}{', missed' if value > limit else ''}"


def at_least(limit: float, value: float) -> str:
    return f"≥ {limit:g}{', missed' if value < limit else ''}"


def comparison(found: list[Watched], adds: int) -> list[str]:
    """Return the table of the page and bull-board, with what each of them cost. Only the page has targets."""
    rows: dict[str, list[float]] = {
        "`queue.add` → frame: p50, ms": [statistics.median(each.delays) for each in found],
        "the same: p99, ms": [each.delays[len(each.delays) * 99 // 100] for each in found],
        f"jobs never in sight, of {adds}": [each.missed for each in found],
        "first load, kB": [each.load_bytes / 1000 for each in found],
        "its bodies if all were gzipped, kB": [each.packed_bytes / 1000 for each in found],
        "a minute in which nothing happens: kB": [each.quiet.sent / 1000 for each in found],
        "the same: commands of Redis": [each.quiet.commands for each in found],
        "a minute with a job every second: kB": [each.busy.sent / 1000 for each in found],
        "the same: commands of Redis besides those of `queue.add`": [each.busy.commands for each in found],
    }
    lines = ["| | jobws | bull-board | target |", "|---|---|---|---|"]
    for name, values in rows.items():
        target = at_most(FRAME_MILLISECONDS, values[0]) if name.endswith("p50, ms") else ""
        lines.append(f"| {name} | {' | '.join(f'{each:,.4g}' for each in values)} | {target} |")
    return lines


def task_table(found: list[busy_page.Traced]) -> list[str]:
    """Return the table of the tasks of some traces. With too few events, it says so: short tasks then prove nothing."""
    rows: dict[str, list[float]] = {
        "rows": [each.rows for each in found],
        "events a second": [each.events_per_second for each in found],
        "tasks that ran scripts": [each.tasks for each in found],
        "all of them: CPU, % of a core": [each.busy * 100 for each in found],
        "the longest: CPU, ms": [each.longest.cpu for each in found],
        "the longest: until its end, ms": [each.longest_wall for each in found],
    }
    lines = ["| | median | least | most | target |", "|---|---|---|---|---|"]
    for name, values in rows.items():
        median = statistics.median(values)
        target = ""
        if name == "events a second":
            target = at_least(LEAST_EVENTS_PER_SECOND, median)
        elif name.startswith("the longest"):
            target = at_most(TASK_MILLISECONDS, median)
        lines.append(f"| {name} | {median:,.4g} | {min(values):,.4g} | {max(values):,.4g} | {target} |")
    return lines


def heap(redis_port: int, minutes: float) -> None:
    """Print how the JavaScript heap grows."""
    first = min(1.0, minutes / 2)
    before, after = busy_page.heap(redis_port, minutes, first)
    growth = after / before - 1
    print(
        f"JavaScript heap after minute {first:g}: {before / 1e6:.2f} MB, after minute {minutes:g}: {after / 1e6:.2f}, "
        f"{growth:+.1%} (at most {HEAP_GROWTH:.0%}{', missed' if growth > HEAP_GROWTH else ''})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.page", description=__doc__)
    parser.add_argument("--adds", type=int, default=100)
    parser.add_argument("--quiet-seconds", type=float, default=60)
    parser.add_argument("--viewers", type=int, default=1, help="who look at the page; bytes and commands are of all")
    parser.add_argument("--rounds", type=int, default=3, help="of the trace")
    parser.add_argument("--only", choices=["board", "tasks"], help="only one of the two tables")
    parser.add_argument("--heap", action="store_true", help="measure the heap instead")
    parser.add_argument("--minutes", type=float, default=10, help="of the heap")
    arguments = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {redis_version()}, {browser_version()}\n")
    install_opponent(BOARD)
    with redis_server() as port:
        if arguments.heap:
            heap(port, arguments.minutes)
            return
        if arguments.only != "tasks":
            plan = Plan(arguments.adds, arguments.quiet_seconds, arguments.viewers)
            print(*comparison([watch(kind, port, plan) for kind in PATHS], plan.adds), "", sep="\n")
        if arguments.only != "board":
            print(*task_table(busy_page.tasks(port, arguments.rounds)), sep="\n")


if __name__ == "__main__":
    main()
