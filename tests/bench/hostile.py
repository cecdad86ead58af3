"""`python -m tests.bench.hostile`: the p99 of good clients beside a hostile one, and beside a process that is as busy.

Both have the lowest priority. The busy process takes as much CPU time as the hostile client took, and does not connect.
Fails if a ratio is over 2, if a hostile client adds more than 5 ms, or if it was not limited.

`--limits high` gives the hostile client limits that it does not reach. `--only NAME` and `--rounds N` choose attacks
and rounds. `--cpu` measures the rounds of the bridge's event loop in CPU time, beside each attack, which other programs
on the machine do not change, and says what the longest round consisted of.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from jobws.tokens import mint
from tests.bench.attacks import ATTACKS, attacking, taking
from tests.bench.clients import Clients, cpu_seconds, raise_file_limit
from tests.bench.servers import Events, redis_server, server
from tests.bench.writer import Plan, writing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECRET: Final = "s" * 32
CLIENTS: Final = 20
# An event every 5 ms, for 3 s.
PLAN: Final = Plan([("j", 1, 1)], 600, 0.005)
MOST_RATIO: Final = 2.0
MOST_MILLISECONDS: Final = 5.0
LIMITED: Final = re.compile(r'^jobws_limited(?:_total)?\{setting="(\w+)"\} (\S+)$', re.MULTILINE)
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


class Beside(NamedTuple):
    """What a hostile client does to others. Times are the p99 of the others' latencies, in milliseconds.

    Attributes:
        share: How much of a processor's time the hostile client took.
        busy: The time beside a process that takes as much.
        hostile: The time beside the hostile client.
        limited: By setting, how often the bridge has limited somebody meanwhile.
    """

    share: float
    busy: float
    hostile: float
    limited: Mapping[str, int]


def p99(clients: Clients, events: Events) -> float:
    """Return the p99 of the clients' latencies, in milliseconds."""
    with writing(events.port, PLAN):
        clients.take(CLIENTS * PLAN.turns)
    times = clients.latencies()
    return times[len(times) * 99 // 100] * 1000


def limited(port: int) -> dict[str, int]:
    """Return how often the bridge has limited somebody, by setting."""
    request = Request(f"http://127.0.0.1:{port}/metrics")
    request.add_header("Authorization", f"Bearer {mint(SECRET, 'read:metrics', sub='operator', seconds=3600)}")
    with urlopen(request) as response:
        text = response.read().decode()
    return {name: int(float(count)) for name, count in LIMITED.findall(text) if float(count)}


def measure(names: Sequence[str], options: Sequence[str]) -> dict[str, Beside]:
    """Return what each attack does to others, on a fresh bridge for each."""
    found: dict[str, Beside] = {}
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
                with attacking(name, bridge.port, hostile) as pid:
                    used, began = cpu_seconds(pid), time.monotonic()
                    beside_hostile = p99(clients, events)
                    share = (cpu_seconds(pid) - used) / (time.monotonic() - began)
                counts = limited(bridge.port)
                with taking(min(share, 1.0)):
                    found[name] = Beside(share, p99(clients, events), beside_hostile, counts)
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
    seen: dict[str, list[Beside]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder, "secret")
        secret.write_text(SECRET, encoding="ascii")
        options = ["--jwt-secret-file", str(secret), "--trusted-proxy", "127.0.0.1"]
        options += HIGH if arguments.limits == "high" else []
        for _ in range(arguments.rounds):
            for name, beside in measure(arguments.only or list(ATTACKS), options).items():
                seen[name].append(beside)
    print("| p99, ms | CPU share | beside a busy process | beside the client | ratio | more | limited by |")
    print("|---|---|---|---|---|---|---|")
    missed = [name for name, rounds in seen.items() if not report(name, rounds)]
    if missed and arguments.limits == "default":
        raise SystemExit(f"missed: {', '.join(missed)}")


def report(name: str, rounds: Sequence[Beside]) -> bool:
    """Print the medians of the rounds of an attack. Return whether they are within the limits of this bench."""
    share, busy, hostile = (statistics.median(each) for each in zip(*(each[:3] for each in rounds), strict=True))
    ratio = statistics.median(each.hostile / each.busy for each in rounds)
    settings = sorted(set.intersection(*(set(each.limited) for each in rounds)))
    print(
        f"| {name} | {share:.0%} | {busy:.2f} | {hostile:.2f} | {ratio:.2f} | {hostile - busy:+.2f} "
        f"| {', '.join(settings) or 'nothing'} |"
    )
    return ratio <= MOST_RATIO and hostile - busy <= MOST_MILLISECONDS and bool(settings)


if __name__ == "__main__":
    main()
