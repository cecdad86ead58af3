"""The client without `await`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

import jobws.sync
from jobws.errors import JobFailed, JobUnknown, ResponseError, UnreachableError
from tests.support import eventually
from tests.support.bridge import live_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis


async def test_its_calls(redis: Redis) -> None:
    def program(url: str) -> None:
        with jobws.sync.connect(url) as jobs:
            assert jobs.hello.protocol == "jobws.v1"
            job = jobs.submit("http", {"n": 1})
            assert jobs.lookup(job.job_id)[0]["state"] == "waiting"
            assert jobs.act("pause", "http").queue == "http"
            assert jobs.act("resume", "http").queue == "http"
            began = time.monotonic()
            with pytest.raises(TimeoutError, match=r"had not ended after 0\.1 s"):
                jobs.wait(job.job_id, timeout_s=0.1)
            with pytest.raises(TimeoutError):
                list(jobs.wait_many([job.job_id], timeout_s=0.1))
            assert time.monotonic() - began < 20
            with pytest.raises(JobUnknown):
                jobs.wait("nobody")
            events = jobs.watch(job.job_id, events=["*"])
            redis.add_event("http", "active", job.job_id, prev="waiting")
            redis.add_event("http", "completed", job.job_id, returnvalue='"done"')
            assert [event.event for event in events] == ["active", "completed"]
            for event in jobs.watch(job.job_id):
                assert event.replayed
                break
            redis.add_event("http", "failed", "bad", failedReason="no")
            outcomes = dict(jobs.wait_many([job.job_id, "bad"], "http", timeout_s=30))
            assert outcomes[job.job_id] == "done"
            assert isinstance(outcomes["bad"], JobFailed)
            assert jobs.wait(job.job_id, "http", timeout_s=30) == "done"
            missed = jobs.watch_queue("http", ["failed"], after={"http": "0-0"})
            assert next(missed).data["jobId"] == "bad"
            unfinished = jobs.watch("later")
            next(jobs.watch(job.job_id))
        del unfinished  # its loop has ended by now

    async with live_bridge(redis.url, allow_actions=True) as live:
        await anyio.to_thread.run_sync(program, live.url)


async def test_the_log(redis: Redis) -> None:
    def program(url: str) -> None:
        with jobws.sync.connect_logs(url, source="worker", tail=10, follow=False) as lines:
            assert [line.message for line in lines] == ["1", "2"]
        with jobws.sync.connect_logs(url, tail=1, level="warning") as lines:
            assert next(lines).message == "2"
            redis.add_log("3", level="error")
            assert next(lines).message == "3"
        with pytest.raises(ResponseError, match="`level` must be one of"), jobws.sync.connect_logs(url, level="loud"):
            raise AssertionError("entered")
        with pytest.raises(KeyError), jobws.sync.connect_logs(url):
            raise KeyError

    redis.add_log("1", source="worker")
    redis.add_log("2", source="worker", level="warning")
    redis.add_log("other", source="api")
    async with live_bridge(redis.url) as live:
        await anyio.to_thread.run_sync(program, live.url)


async def test_inside_a_running_loop(redis: Redis) -> None:
    redis.add_event("http", "completed", "1", returnvalue="1")

    async def notebook(url: str) -> object:
        with jobws.sync.connect(url) as jobs:
            return jobs.wait("1", "http")

    async with live_bridge(redis.url) as live:
        assert await anyio.to_thread.run_sync(lambda: asyncio.run(notebook(live.url))) == 1


def test_no_bridge() -> None:
    with pytest.raises(UnreachableError), jobws.sync.connect("http://127.0.0.1:1"):
        pass


def test_an_exception_of_the_body_comes_out(redis: Redis) -> None:
    with pytest.raises(UnreachableError), jobws.sync.connect("http://127.0.0.1:1"):
        raise AssertionError


@pytest.mark.parametrize(
    "call", ["jobs.wait('1', expect=True)", "list(jobs.watch('1'))", "list(jobs.wait_many(['1'], expect=True))"]
)
async def test_ctrl_c_ends_it(redis: Redis, call: str) -> None:
    program = f"import sys, jobws.sync\nwith jobws.sync.connect(sys.argv[1]) as jobs:\n    {call}"
    async with live_bridge(redis.url) as live:
        with subprocess.Popen([sys.executable, "-c", program, live.url], stderr=subprocess.PIPE, text=True) as process:
            try:
                await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("http", "1")))
                process.send_signal(signal.SIGINT)
                began = time.monotonic()
                _, errors = await anyio.to_thread.run_sync(process.communicate)
            finally:
                process.kill()
        assert time.monotonic() - began < 20
        assert process.returncode == -signal.SIGINT
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        assert "Traceback" not in errors.partition("Traceback")[2]


async def test_a_program_that_closes_nothing_ends(redis: Redis) -> None:
    redis.add_event("http", "completed", "1", returnvalue="1")
    program = "import sys, jobws.sync\njobs = jobws.sync.connect(sys.argv[1])\nprint(jobs.wait('1'))"
    async with live_bridge(redis.url) as live:
        command = [sys.executable, "-c", program, live.url]
        done = await anyio.to_thread.run_sync(
            lambda: subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
