"""`make bench`: puts every load on all servers in turn, some rounds, and prints a table of medians and ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.bench import loads
from tests.bench.clients import raise_file_limit
from tests.bench.servers import Events, install_opponent, redis_server, redis_version, server

if TYPE_CHECKING:
    from tests.bench.clients import Kind

# By name: the factor for the unit that is printed, whether more is better, and the target for jobws ÷ opponent.
FIGURES: Final[dict[str, tuple[float, bool, float | None]]] = {
    "fan-out: deliveries per second": (1, True, 2.5),
    "1,000 jobs, one client each: CPU per delivery, µs": (1e6, False, 0.5),
    "200 clients, 50 jobs each: CPU per delivery, µs": (1e6, False, 0.4),
    "events nobody wants: CPU per event, µs": (1e6, False, 0.3),
    "steady: p50, ms": (1e3, False, 0.9),
    "steady: p99, ms": (1e3, False, 1.0),
    "steady: CPU per event, µs": (1e6, False, 0.7),
    "5,000 idle clients: kB per client": (1e-3, False, 1.4),
    "5,000 arriving: connections per second": (1, True, 0.9),
    "2,000 clients, a message each: CPU per subscription, µs": (1, False, 2.0),
    "200 clients, a list of 50 each: CPU per subscription, µs": (1, False, 1.0),
}
LABELS: Final = ("opponent", "plain ws", "jobws", "jobws --no-direct")


class Variant(NamedTuple):
    """A server that is measured.

    Attributes:
        checkout: The folder of another version of jobws; None for this one.
    """

    label: str
    kind: Kind
    direct: bool = True
    checkout: Path | None = None


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", action="append", choices=sorted({**loads.LOADS, **loads.ALONE}), help="repeatable; default: all"
    )
    parser.add_argument("--alone", action="store_true", help="also what is measured on jobws alone")
    parser.add_argument("--against", type=Path, help="an older checkout of jobws, measured in the opponent's place")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    raise_file_limit()
    if arguments.against is None:
        install_opponent()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with redis_server() as port:
        events = Events(port)
        only = arguments.only or [*loads.LOADS, *(loads.ALONE if arguments.alone else ())]
        if arguments.against is None:
            only = [name for name in only if name not in loads.JOBWS]
            variants: list[Variant] = [
                Variant("opponent", "socketio"),
                Variant("plain ws", "plain"),
                Variant("jobws", "jobws"),
                Variant("jobws --no-direct", "jobws", direct=False),
            ]
        else:
            variants = [Variant("opponent", "jobws", checkout=arguments.against.resolve()), Variant("jobws", "jobws")]
        for number in range(arguments.rounds):
            for name in [each for each in loads.LOADS if each in only]:
                for variant in variants:
                    label = variant.label
                    if label == "jobws --no-direct" and number:
                        continue
                    events.clear()
                    options = loads.OPTIONS.get(name, ())
                    with server(
                        variant.kind, port, *options, direct=variant.direct, checkout=variant.checkout
                    ) as running:
                        for figure, value in loads.LOADS[name](running, events).items():
                            found[figure][label].append(value)
                            print(f"  {figure}: {label} {value:.6g}", file=sys.stderr, flush=True)
        for name in [each for each in loads.ALONE if each in only]:
            for _ in range(arguments.rounds):
                events.clear()
                with server("jobws", port, *loads.OPTIONS.get(name, ())) as running:
                    for figure, value in loads.ALONE[name](running, events).items():
                        found[figure]["jobws"].append(value)
                        print(f"  {name}: {figure} {value:.6g}", file=sys.stderr, flush=True)
        if arguments.alone:
            found["socket.send of 200 bytes to 100 sockets in turn, µs"]["jobws"].append(loads.bare_send())
    medians = {
        figure: {label: statistics.median(values) for label, values in by.items()} for figure, by in found.items()
    }
    if arguments.json:
        print(json.dumps({"machine": _machine(), "medians": medians, "all": found}, indent=1))
    else:
        _print_table(medians, arguments.rounds)


def _print_table(medians: dict[str, dict[str, float]], rounds: int) -> None:
    print(f"{_machine()}; medians of {rounds}\n")
    print("| | opponent | jobws | ratio | target | plain ws | ratio | jobws --no-direct |")
    print("|---|---|---|---|---|---|---|---|")
    for figure, by in medians.items():
        scale, more_is_better, target = FIGURES.get(figure, (1, False, None))
        cells = {label: f"{by[label] * scale:,.4g}" if label in by else "" for label in LABELS}
        ratios = {label: f"**{by['jobws'] / by[label]:.2f}**" if label in by else "" for label in LABELS}
        wanted = ""
        if target is not None and "opponent" in by:
            ratio = by["jobws"] / by["opponent"]
            met = ratio >= target if more_is_better else ratio <= target
            wanted = f"{'≥' if more_is_better else '≤'} {target}{'' if met else ', missed'}"
        columns = (
            *(figure, cells["opponent"], cells["jobws"], ratios["opponent"], wanted),
            *(cells["plain ws"], ratios["plain ws"], cells["jobws --no-direct"]),
        )
        print(f"| {' | '.join(columns)} |")


def _machine() -> str:
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"Node {node}, {redis_version()}, jobws {version('jobws')}, Socket.IO 4.8.4, BullMQ 6.7.0"
    )


main()
