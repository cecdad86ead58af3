"""`python -m tests.bench.hostile`: the p99 of good clients beside a hostile one, and beside a process that is as busy.

Both have the lowest priority. `--limits high` gives the hostile client limits that it does not reach. `--only NAME` and
`--rounds N` choose attacks and rounds. `--cpu` measures the rounds of the bridge's event loop in CPU time, beside each
attack, which other programs on the machine do not change, and says what the longest round consisted of.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict
from urllib.parse import urlsplit

from jobws.tokens import mint
from tests.bench.attacks import ATTACKS, BUSY, attacking
from tests.bench.clients import Clients, raise_file_limit
from tests.bench.servers import Events, redis_server, server
from tests.bench.writer import Plan, writing

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET: Final = "s" * 32
CLIENTS: Final = 20
# An event every 5 ms, for 3 s.
PLAN: Final = Plan([("j", 1, 1)], 600, 0.005)
HIGH: Final = [
    *("--max-connections-per-identity", "10000", "--max-connections-per-address", "10000"),
    *("--max-subscriptions-per-identity", "1000000", "--requests-per-minute", "100000000"),
    *("--requests-per-second", "1000000"),
    *("--post-bytes-per-minute", "100000000000", "--log-lines-per-minute", "100000000"),
    *("--failed-auths-per-minute", "1000000"),
]


class Rounds(TypedDict):
    """The rounds of an event loop, in milliseconds of CPU time, and what the longest one consisted of."""

    rounds: dict[str, float]
    parts: dict[str, float]


def p99(clients: Clients, events: Events) -> float:
    """Return the p99 of the clients' latencies, in milliseconds."""
    with writing(events.port, PLAN):
        clients.take(CLIENTS * PLAN.turns)
    times = clients.latencies()
    return times[len(times) * 99 // 100] * 1000


def measure(names: Sequence[str], options: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return for each attack the p99 beside a busy process and beside the attack, on a fresh bridge for each."""
    found: dict[str, tuple[float, float]] = {}
    with redis_server() as port:
        events = Events(port)
        for name in names:
            events.clear()
            with server("jobws", port, *options) as bridge:
                token = mint(SECRET, "read:jobs:*", sub="good", seconds=3600)
                clients = Clients("jobws", bridge.port, headers=f"Authorization: Bearer {token}\r\n")
                clients.connect(CLIENTS)
                clients.subscribe([["j0"]] * CLIENTS)
                clients.measure, clients.awake = True, False
                hostile = mint(SECRET, "read:jobs:* write:jobs:* write:logs", sub="mallory", seconds=3600)
                with attacking(BUSY, bridge.port, hostile):
                    beside_busy = p99(clients, events)
                with attacking(name, bridge.port, hostile):
                    found[name] = beside_busy, p99(clients, events)
                clients.close()
    return found


def rounds_of(name: str) -> Rounds:
    """Measure the rounds of the event loop beside an attack."""
    settings = {"jwt_secret": SECRET, "trusted_proxies": ["127.0.0.1"], "queues": ["http"]}
    with redis_server() as port:
        events = Events(port)
        events.clear()
        command = [sys.executable, "-m", "tests.bench.steps", f"redis://127.0.0.1:{port}", json.dumps(settings)]
        bridge = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert bridge.stdin is not None
            assert bridge.stdout is not None
            bridge_port = urlsplit(json.loads(bridge.stdout.readline())["url"]).port or 0
            token = mint(SECRET, "read:jobs:*", sub="good", seconds=3600)
            clients = Clients("jobws", bridge_port, headers=f"Authorization: Bearer {token}\r\n")
            clients.connect(CLIENTS)
            clients.subscribe([["j0"]] * CLIENTS)
            bridge.stdin.write("collect\n")
            bridge.stdin.flush()
            bridge.stdout.readline()
            hostile = mint(SECRET, "read:jobs:* write:jobs:* write:logs", sub="mallory", seconds=3600)
            with attacking(name, bridge_port, hostile), writing(port, PLAN):
                clients.take(CLIENTS * PLAN.turns)
                bridge.stdin.write("\n")
                bridge.stdin.flush()
                found: Rounds = json.loads(bridge.stdout.readline())
            clients.close()
            return found
        finally:
            bridge.kill()
            bridge.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hostile", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=ATTACKS, action="append")
    parser.add_argument("--limits", choices=("default", "high"), default="default")
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    raise_file_limit()
    if arguments.cpu:
        print(
            "| round of the event loop, CPU ms | p99 | p99.9 | longest | in the longest of all |\n|---|---|---|---|---|"
        )
        for name in arguments.only or list(ATTACKS):
            runs = [rounds_of(name) for _ in range(arguments.rounds)]
            medians = (statistics.median(run["rounds"][key] for run in runs) for key in ("p99", "p99.9", "longest"))
            worst = max(runs, key=lambda run: run["rounds"]["longest"])["parts"]
            cells = [*(f"{each:.2f}" for each in medians), ", ".join(f"{part} {worst[part]}" for part in [*worst][:3])]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
        return
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder, "secret")
        secret.write_text(SECRET, encoding="ascii")
        options = ["--jwt-secret-file", str(secret), "--trusted-proxy", "127.0.0.1"]
        options += HIGH if arguments.limits == "high" else []
        for _ in range(arguments.rounds):
            for name, pair in measure(arguments.only or list(ATTACKS), options).items():
                seen[name].append(pair)
    print("| p99, ms | beside a busy process | beside the client | ratio | more |\n|---|---|---|---|---|")
    for name, pairs in seen.items():
        busy, beside = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"| {name} | {busy:.2f} | {beside:.2f} | {beside / busy:.2f} | {beside - busy:+.2f} |")


if __name__ == "__main__":
    main()
