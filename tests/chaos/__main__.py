"""`make chaos N=1000 SEED=1`: large runs, harsh and mild, and one of a Socket.IO bridge, which must lose outcomes."""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Final, get_args

import trio

from jobws.embedded import find_redis_server
from jobws.errors import ConfigurationError
from tests.chaos.bridges import SWEEP_SECONDS
from tests.chaos.report import table
from tests.chaos.run import run
from tests.chaos.world import Client, Plan
from tests.support.servers import redis_6

if TYPE_CHECKING:
    from tests.chaos.report import Report

KINDS: Final = ("harsh", "mild", "two", "queues", "socketio")


def main() -> None:
    arguments = _arguments()
    has_node = shutil.which("node") is not None
    reports: list[Report] = []
    bad = False
    for kind in arguments.only or KINDS:
        if kind == "socketio" and not has_node:
            print("no node: the Socket.IO bridge is left out")
            continue
        for seed in arguments.seeds:
            report = trio.run(partial(run, _plan(kind, seed, arguments, has_node=has_node)))
            print(report, flush=True)
            reports.append(report)
            bad = bad or _is_bad(report)
    print(table(reports))
    sys.exit(bad)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seeds", type=_seeds, default=[1], help="of all chance, such as 3, 1-3 or 1,4-6; default: 1")
    parser.add_argument("--queues", type=int, default=40, help="that come and go, in the kind `queues`; default: 40")
    parser.add_argument(
        "--seconds", type=float, help="over which jobs are added; default: 20 jobs a second, or a minute"
    )
    parser.add_argument("--only", action="append", choices=KINDS, help="repeat it; default: all kinds")
    parser.add_argument(
        "--client",
        action="append",
        choices=get_args(Client),
        help="of which kinds the clients are, one after the other; repeat it (default: all, as far as there is Node)",
    )
    parser.add_argument(
        "--server",
        help="the Redis server to run on: a path, a name on PATH, or 6.2; default: the one that jobws brings",
    )
    parser.add_argument(
        "--sweep-seconds", type=float, default=SWEEP_SECONDS, help="how often bridges look after watched jobs"
    )
    arguments = parser.parse_args()
    try:
        arguments.server = redis_6() if arguments.server == "6.2" else find_redis_server(arguments.server)
    except ConfigurationError as error:
        parser.error(f"{error}")
    return arguments


def _seeds(text: str) -> list[int]:
    """Return the numbers that a text lists: `1,4-6` means 1, 4, 5 and 6."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def _plan(kind: str, seed: int, arguments: argparse.Namespace, *, has_node: bool) -> Plan:
    clients = tuple(arguments.client or (client for client in get_args(Client) if has_node or client != "javascript"))
    plan = Plan(
        seed,
        arguments.jobs,
        arguments.clients,
        arguments.seconds or arguments.jobs / 20,
        kinds=clients,
        server=arguments.server,
        sweep_seconds=arguments.sweep_seconds,
    )
    match kind:
        case "mild":
            return plan._replace(harsh=False)
        case "two":
            return plan._replace(harsh=False, bridges=2)
        case "queues":
            return plan.with_queues(arguments.queues, arguments.seconds or 60)
        case "socketio":
            return plan._replace(harsh=False, kind="socketio")
        case _:
            return plan


def _is_bad(report: Report) -> bool:
    if report.kind == "socketio":
        return not report.lost
    # A bridge must report gaps that do not exist if Redis does not count entries.
    needless = report.kind in ("mild", "two") and report.is_counted and (report.from_hash or report.gaps)
    return bool(report.wrong or needless)


if __name__ == "__main__":
    main()
