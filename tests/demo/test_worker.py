"""The worker as a process: it does jobs that BullMQ adds, failures have reasons, and it ends when it should."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest
from bullmq import Queue

from jobws.demo.sparql_endpoint import SparqlEndpoint
from tests.support import eventually
from tests.support.demo_worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.redis import Redis


async def add(redis: Redis, queue: str, job_id: str, data: object, **options: object) -> None:
    """Add a job as any producer would, with BullMQ's Queue, in an event loop of its own."""

    async def adding() -> None:
        bullmq = Queue(queue, {"connection": redis.url})
        try:
            await bullmq.add("test", data, {"jobId": job_id, **options})
        finally:
            await bullmq.close()

    await anyio.to_thread.run_sync(asyncio.run, adding())


async def ended(redis: Redis, queue: str, job_id: str) -> dict[str, Any]:
    """Wait until the job is finished, and return its hash."""
    key = f"bull:{queue}:{job_id}"
    await eventually(lambda: bool(redis.client.hexists(key, "finishedOn")))
    raw: Any = redis.client.hgetall(key)
    return {name.decode(): value.decode() for name, value in raw.items()}


async def test_jobs_of_every_queue_are_done(redis: Redis, tmp_path: Path) -> None:
    version = f"19.2.{secrets.randbelow(1000)}"
    count = 1 + secrets.randbelow(50)
    (tmp_path / "package.json").write_text(json.dumps({"dependencies": {"react": version}}))
    (tmp_path / "app.py").write_text("import subprocess\nsubprocess.run(input(), shell=True)\n")
    triples = "".join(f"<urn:s> <urn:p> {number} ." for number in range(count))
    with SparqlEndpoint() as endpoint, Worker(redis.url, tmp_path, "--sparql", endpoint.url).ready() as worker:
        jobs = {
            "techstack": {"path": "."},
            "analyzer": {"path": "."},
            "sparql": {"update": f"INSERT DATA {{ {triples} }}"},
            "http": {"url": f"{endpoint.url}?query=ASK%7B%7D"},
        }
        for queue, data in jobs.items():
            await add(redis, queue, queue, data)
        done = {queue: await ended(redis, queue, queue) for queue in jobs}
        results = {queue: json.loads(job["returnvalue"]) for queue, job in done.items()}
        assert worker.end() == 0
    assert results["techstack"]["frameworks"] == [{"name": "react", "version": version, "manifest": "package.json"}]
    assert results["analyzer"]["totals"]["HIGH"] == 1
    assert (results["sparql"]["triplesBefore"], results["sparql"]["triplesAfter"]) == (0, count)
    assert (results["http"]["status"], results["http"]["headers"]["content-type"]) == (
        *(200, "application/sparql-results+json"),
    )
    assert json.loads(done["techstack"]["progress"]) == 100
    assert sorted(line.split(" (")[0] for line in worker.lines) == sorted(f"{q}/{q} completed" for q in jobs)


async def test_what_it_does_is_in_the_log_with_queue_and_job(redis: Redis, tmp_path: Path) -> None:
    """Also what a processor logs in its own thread."""
    (tmp_path / "package.json").write_text("{}")
    with Worker(redis.url, tmp_path, "--queue", "techstack").ready() as worker:
        await add(redis, "techstack", "good", {})
        await ended(redis, "techstack", "good")
        await add(redis, "techstack", "bad", {"path": "missing"}, attempts=2)
        await ended(redis, "techstack", "bad")
        worker.end()
    found: Any = redis.client.xrange("jobws:logs")
    lines = [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in found]
    assert {(line["source"], line["queue"]) for line in lines} == {("worker", "techstack")}
    assert [(line["level"], line["jobId"], line["message"]) for line in lines] == [
        ("info", "good", "job started"),
        ("info", "good", "0 files of known languages, 1 manifests"),
        ("info", "good", "job completed"),
        *(
            2
            * [
                ("info", "bad", "job started"),
                ("error", "bad", "job failed: missing is no directory below the worker's root"),
            ]
        ),
    ]
    assert [json.loads(line["fields"])["attempt"] for line in lines if line["message"] == "job started"] == [1, 1, 2]


async def test_a_job_that_fails_is_tried_again_and_says_why(redis: Redis, tmp_path: Path) -> None:
    path = f"missing-{secrets.token_hex(4)}"
    with Worker(redis.url, tmp_path, "--queue", "techstack").ready() as worker:
        await add(redis, "techstack", "1", {"path": path}, attempts=2)
        job = await ended(redis, "techstack", "1")
        await add(redis, "techstack", "li\nne", ["no object"])
        listed = await ended(redis, "techstack", "li\nne")
        worker.end()
    assert job["failedReason"] == f"{path} is no directory below the worker's root"
    assert job["atm"] == "2"
    assert listed["failedReason"] == "a job's data must be a JSON object"
    assert [line.split(" (")[0] for line in worker.lines] == [
        *(2 * [f"techstack/1 failed: {job['failedReason']}"]),
        "techstack/li\ufffdne failed: a job's data must be a JSON object",
    ]


@pytest.mark.parametrize("how", [None, signal.SIGTERM, signal.SIGINT])
def test_it_ends_quietly(redis: Redis, tmp_path: Path, how: signal.Signals | None) -> None:
    with Worker(redis.url, tmp_path).ready() as worker:
        assert worker.end(how) == 0
        assert worker.lines == []


async def test_it_ends_with_its_input_in_the_middle_of_a_job(redis: Redis, tmp_path: Path) -> None:
    """The page never answers. A thread that waited for it would keep the process alive for 15 s."""
    with (
        Worker(redis.url, tmp_path, "--queue", "http").ready() as worker,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        await add(redis, "http", "1", {"url": f"http://127.0.0.1:{listener.getsockname()[1]}/"})
        connection, _ = await anyio.to_thread.run_sync(listener.accept)
        with connection:
            assert worker.end() == 0
        assert worker.lines == []
    assert not redis.client.hexists("bull:http:1", "finishedOn")


@pytest.mark.parametrize("prefix", ["bull", "{my}:app"])
async def test_the_prefix_is_kept(redis: Redis, tmp_path: Path, prefix: str) -> None:
    async def adding() -> None:
        queue = Queue("techstack", {"connection": redis.url, "prefix": prefix})
        await queue.add("test", {}, {"jobId": "1"})
        await queue.close()

    with Worker(redis.url, tmp_path, "--queue", "techstack", "--prefix", prefix).ready():
        await anyio.to_thread.run_sync(asyncio.run, adding())
        await eventually(lambda: bool(redis.client.hexists(f"{prefix}:techstack:1", "returnvalue")))


def test_a_refused_password_is_one_line(redis: Redis, tmp_path: Path) -> None:
    with Worker(redis.url.replace("redis://:", "redis://:wrong"), tmp_path) as worker:
        assert worker.ended() == 2
        assert worker.lines == ["no connection to Redis within 5 s: is it there, and is the password right?"]


def test_an_unknown_queue_names_the_known_ones(tmp_path: Path) -> None:
    with Worker("redis://127.0.0.1:1", tmp_path, "--queue", "nope") as worker:
        assert worker.ended() == 2
        assert worker.lines[-1].endswith("there is work for http, sparql, techstack, analyzer")


def _without(*modules: str) -> tuple[str, ...]:
    """Run the worker on a Python that cannot import `modules`."""
    return "-c", f"import sys; sys.modules.update(dict.fromkeys({modules})); from jobws.demo.worker import main; main()"


def test_without_bullmq_one_line_says_what_to_install(tmp_path: Path) -> None:
    with Worker("redis://127.0.0.1:1", tmp_path, python=_without("bullmq")) as worker:
        assert worker.ended() == 2
        assert worker.lines == ["the demo's worker needs an extra: pip install 'jobws[demo]'"]


async def test_without_the_extra_the_job_says_what_to_install(redis: Redis, tmp_path: Path) -> None:
    with Worker(redis.url, tmp_path, python=_without("bandit", "rdflib")).ready():
        await add(redis, "analyzer", "1", {})
        await add(redis, "techstack", "1", {})
        failed = await ended(redis, "analyzer", "1")
        assert failed["failedReason"] == "the analyzer queue needs an extra: pip install 'jobws[demo]'"
        assert "returnvalue" in await ended(redis, "techstack", "1")
