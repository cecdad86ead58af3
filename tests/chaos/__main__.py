"""`make chaos N=1000 SEED=1`: the large run, harsh and mild, and the Socket.IO bridge beside it, which must lose."""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from typing import get_args

import trio

from tests.chaos.run import run
from tests.chaos.world import Client, Plan


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="over which jobs are added; default: 20 jobs a second")
    parser.add_argument("--only", choices=["harsh", "mild", "two", "socketio"])
    parser.add_argument(
        "--client",
        action="append",
        choices=get_args(Client),
        help="of which kinds the clients are, one after the other; repeat it (default: all, as far as there is Node)",
    )
    arguments = parser.parse_args()
    has_node = shutil.which("node") is not None
    kinds = tuple(arguments.client or (kind for kind in get_args(Client) if has_node or kind != "javascript"))
    seconds = arguments.seconds or arguments.jobs / 20
    plan = Plan(arguments.seed, arguments.jobs, arguments.clients, seconds, kinds=kinds)
    plans = {
        "harsh": plan,
        "mild": plan._replace(harsh=False),
        "two": plan._replace(harsh=False, bridges=2),
        "socketio": plan._replace(harsh=False, kind="socketio"),
    }
    bad = False
    for name, each in plans.items():
        if arguments.only not in (None, name):
            continue
        if name == "socketio" and not has_node:
            print("no node: the Socket.IO bridge is left out")
            continue
        report = trio.run(partial(run, each))
        print(report, flush=True)
        if name == "socketio":
            bad = bad or not report.lost
        else:
            bad = bad or bool(report.wrong)
            bad = bad or (name != "harsh" and bool(report.without_id or report.gaps))
    sys.exit(bad)


if __name__ == "__main__":
    main()
