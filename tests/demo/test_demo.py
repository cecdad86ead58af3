"""The demo does real work: its results show what the test prepared, and it reports missing events."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jobws.demo.counts import show_counts
from jobws.demo.flow import show_flow
from jobws.demo.sparql_endpoint import SparqlEndpoint
from jobws.demo.walk import MISSING, Task, tasks_about, walk
from tests.support.bridge import live_bridge
from tests.support.demo_worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.redis import Redis

QUEUES = ("http", "sparql", "techstack", "analyzer", "techstack")


@contextmanager
def page(header: str) -> Iterator[str]:
    """Serve a page on this machine whose answer has a header with this value."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("X-Planted", header)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def plant(root: Path) -> int:
    """Fill a directory, and return how many files it has."""
    (root / "package.json").write_text(json.dumps({"dependencies": {"react": "19.2.1"}}))
    (root / "app.py").write_text("import subprocess\nsubprocess.run(input(), shell=True)\n")
    more = secrets.randbelow(20)
    for number in range(more):
        (root / f"é {number}.txt").write_text("x")
    return 2 + more


async def test_what_was_planted_arrives_with_the_outcomes(redis: Redis, tmp_path: Path) -> None:
    header = secrets.token_hex(8)
    count = plant(tmp_path)
    with SparqlEndpoint() as endpoint, page(header) as url, ExitStack() as stack:

        def start_worker() -> None:
            stack.enter_context(Worker(redis.url, tmp_path, "--sparql", endpoint.url)).ready()

        async with live_bridge(redis.url) as live:
            done = await walk(live.url, tasks_about(tmp_path, url), start_worker, Console(quiet=True))
    assert done.complete
    outcomes: dict[tuple[str, Any], Any] = {(event.event, event.data["queue"]): event.data for event in done.outcomes}
    results = {queue: data["returnvalue"] for (event, queue), data in outcomes.items() if event == "completed"}
    assert (results["http"]["url"], results["http"]["headers"]["x-planted"]) == (url, header)
    assert (results["sparql"]["triplesBefore"], results["sparql"]["triplesAfter"]) == (0, count)
    assert results["techstack"]["frameworks"] == [{"name": "react", "version": "19.2.1", "manifest": "package.json"}]
    assert [(each["file"], each["line"], each["severity"]) for each in results["analyzer"]["issues"]][:1] == [
        ("app.py", 2, "HIGH")
    ]
    assert results["analyzer"]["totals"]["HIGH"] == 1
    failed = outcomes["failed", "techstack"]
    assert failed["failedReason"] == f"{MISSING} is no directory below the worker's root"
    assert redis.client.hget(f"bull:techstack:{failed['jobId']}", "atm") == b"2"
    assert len(done.outcomes) == len(QUEUES)


async def test_an_event_that_does_not_come_is_reported(redis: Redis, tmp_path: Path) -> None:
    """The job succeeds with the first attempt, although two were expected."""
    with ExitStack() as stack:

        def start_worker() -> None:
            stack.enter_context(Worker(redis.url, tmp_path, "--queue", "techstack")).ready()

        shown = StringIO()
        async with live_bridge(redis.url) as live:
            task = Task("techstack", {"path": "."}, ("active", "waiting", "active", "failed"))
            done = await walk(live.url, [task], start_worker, Console(file=shown))
    assert not done.complete
    (outcome,) = done.outcomes
    job = f"techstack/{outcome.data['jobId']}"
    assert f"{job}: expected active, waiting, active, failed; got active, completed" in shown.getvalue()


async def test_a_line_of_the_log_that_does_not_come_is_reported(redis: Redis, tmp_path: Path) -> None:
    """The bridge reads another stream than the worker writes."""
    with ExitStack() as stack:

        def start_worker() -> None:
            stack.enter_context(Worker(redis.url, tmp_path, "--queue", "techstack")).ready()

        shown = StringIO()
        async with live_bridge(redis.url, logs_stream="elsewhere") as live:
            done = await walk(live.url, [Task("techstack", {})], start_worker, Console(file=shown))
    assert not done.complete
    (outcome,) = done.outcomes
    assert f"techstack/{outcome.data['jobId']}: its end is not in the log" in shown.getvalue()


async def test_a_terminal_shows_progress_bars(redis: Redis, tmp_path: Path) -> None:
    with ExitStack() as stack:

        def start_worker() -> None:
            stack.enter_context(Worker(redis.url, tmp_path, "--queue", "techstack")).ready()

        shown = StringIO()
        async with live_bridge(redis.url) as live:
            console = Console(file=shown, force_terminal=True, width=120)
            assert (await walk(live.url, [Task("techstack", {})], start_worker, console)).complete
    assert 20 * "━" in shown.getvalue()


async def test_a_flow_whose_job_fails_is_reported(redis: Redis, tmp_path: Path) -> None:
    """No SPARQL endpoint takes the update of the first job, so it fails after those below it."""
    shown = StringIO()
    with page("x") as url, ExitStack() as stack:
        queues = ("--queue", "http", "--queue", "techstack", "--queue", "sparql")
        stack.enter_context(Worker(redis.url, tmp_path, *queues, "--sparql", "http://127.0.0.1:1/")).ready()
        async with live_bridge(redis.url) as live:
            assert not await show_flow(live.url, redis.url, url, Console(file=shown, width=1000))
    (line,) = [line for line in shown.getvalue().splitlines() if line.startswith("flow sparql/")]
    below = "('completed', 'http'), ('completed', 'techstack')"
    expected = f"[{below}, ('completed', 'sparql')], and their ends in the log; got [{below}, ('failed', 'sparql')]"
    assert line.partition(": expected ")[2] == expected


async def test_numbers_that_do_not_come_are_reported(redis: Redis) -> None:
    """The bridge waits for a queue that nobody has made."""
    redis.make_queue("http")
    shown = StringIO()
    async with live_bridge(redis.url, queues=("*",)) as live:
        assert not await show_counts(live.url, ["http", "later"], Console(file=shown), patience_seconds=2)
    assert shown.getvalue().splitlines() == [
        "queue-stats of the queues:",
        "  http: 0 waiting, 0 active, 0 completed, 0 failed; 0 completed a minute",
        "the numbers of later did not come",
    ]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobws", "demo", "--once", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_demo_shows_the_walk(tmp_path: Path) -> None:
    count = plant(tmp_path)
    header = secrets.token_hex(8)
    with page(header) as url:
        done = demo("--root", str(tmp_path), "--page", url)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    submitted = [line.removesuffix(" submitted") for line in lines if line.endswith(" submitted")]
    assert tuple(job.split("/")[0] for job in submitted) == QUEUES
    for job, state in zip(submitted, (*(4 * ["completed"]), "failed"), strict=True):
        steps = [line.removeprefix(f"{job} ") for line in lines if line.startswith(f"{job} ")]
        first = [steps.index(step) for step in ("submitted", "subscribed", "waiting", "active", state)]
        assert first == sorted(first)
        attempts = 2 if state == "failed" else 1
        assert steps.count("active") == attempts
        about = [number for number, line in enumerate(lines) if f" worker {job} job " in line]
        assert len(about) == 2 * attempts  # each started, and ended
        assert lines.index(f"{job} subscribed") < about[0] < about[-1] < lines.index(f"{job} {state}")
        assert f" worker {job} job started attempt=1" in lines[about[0]]
        assert f" worker {job} job {state}" in lines[about[-1]]
    text = "\n".join(lines)
    assert f"http: {url} answered 200: 0 bytes of an unknown type" in text
    assert f"triples, and now {count}" in text
    assert f"still has the {count} triples:" in text
    assert "react 19.2.1" in text
    assert "bandit found in 1 files: 1 high" in text
    assert f"techstack: {MISSING} is no directory below the worker's root" in text
    assert " active [##########..........] 50 %" in text
    flow = lines[lines.index(next(line for line in lines if line.endswith(" waiting-children"))) :]
    ended = [line.split("/")[0] for line in flow if line.endswith(" completed") and " " not in line[:-10]]
    assert (sorted(ended), ended[-1]) == (["http", "sparql", "techstack"], "sparql")
    assert lines[-5:] == [
        "queue-stats of the queues:",
        "  analyzer: 0 waiting, 0 active, 1 completed, 0 failed; 1 completed a minute",
        "  http: 0 waiting, 0 active, 2 completed, 0 failed; 2 completed a minute",
        "  sparql: 0 waiting, 0 active, 2 completed, 0 failed; 2 completed a minute",
        "  techstack: 0 waiting, 0 active, 2 completed, 1 failed; 2 completed a minute",
    ]


def test_a_worker_that_cannot_start_is_reported(tmp_path: Path) -> None:
    """The error is one line, with the worker's own words."""
    code = (
        "import sys, jobws.demo.run as run\n"
        "run.sys = type('sys', (), {'executable': '/bin/false'})\n"
        f"sys.argv = ['jobws', 'demo', '--once', '--root', {str(tmp_path)!r}]\n"
        "from jobws.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "jobws: the demo's worker did not start: \n")
