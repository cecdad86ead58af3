"""The command line as users see it: lines and exit codes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from jobws.protocol.nesting import MAX_LEVELS
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.command import Command, jobws
from tests.support.flows import add_flow, end_flow, flow_bridge
from tests.support.nested import nested_text
from tests.support.started import PIPE, Started

if TYPE_CHECKING:
    from tests.support.redis import Redis

Watch = partial(Command, "watch")


async def test_watch_follows_a_job_to_its_result(redis: Redis) -> None:
    redis.add_job("http", "7")
    async with live_bridge(redis.url) as live:
        watch = Watch("7", "--url", live.url)
        assert [await watch.line(), await watch.line()] == ["7 subscribed", "http/7 waiting"]
        redis.add_event("http", "active", "7", prev="waiting")
        redis.add_event("http", "progress", "7", data="50")
        redis.add_event("http", "completed", "7", returnvalue='{"answer":42}')
        code, out, err = await watch.end()
        assert (code, err) == (0, "")
        assert out.splitlines() == ["http/7 active", "http/7 active 50", 'http/7 completed {"answer": 42}']


async def test_watch_prints_log_lines_if_it_is_asked_to(redis: Redis) -> None:
    redis.add_job("http", "7", state="active")
    redis.client.rpush("bull:http:7:logs", "one\n  two", "\x1b[31mred")
    async with live_bridge(redis.url) as live:
        watch = Watch("7", "--logs", "--url", live.url)
        assert [await watch.line() for _ in range(4)] == [
            *("7 subscribed", "http/7 active", "http/7 | one", "http/7 |   two")
        ]
        assert await watch.line() == r"http/7 | \x1b[31mred"
        with redis.client.pipeline() as both:
            both.delete("bull:http:7:logs")
            both.rpush("bull:http:7:logs", "new")
            both.execute()
        redis.add_event("http", "completed", "7", returnvalue="1")
        code, out, _ = await watch.end()
        assert (code, out.splitlines()) == (
            0,
            ["http/7 | (lines may be missing here)", "http/7 | new", "http/7 completed 1"],
        )


async def test_watch_shows_the_jobs_of_a_flow(redis: Redis) -> None:
    add_flow(redis)
    async with flow_bridge(redis.url) as live:
        watch = Watch("top", "--queue", "http", "--children", "--url", live.url)
        assert [await watch.line(), await watch.line()] == ["top subscribed", "http/top waiting-children"]
        end_flow(redis)
        code, out, err = await watch.end()
        assert (code, err) == (0, "")
        *below, last = out.splitlines()
        assert sorted(below) == ["sparql/a completed 1", "techstack/b failed no", "techstack/c completed 1"]
        assert last == "http/top completed 1"


async def test_watch_tells_ends_by_its_exit_code(redis: Redis) -> None:
    redis.add_job("http", "done", state="completed", finishedOn="1", returnvalue="1")
    async with live_bridge(redis.url) as live:
        assert await Watch("done", "--url", live.url).end() == (0, "done subscribed\nhttp/done completed 1\n", "")
        assert await Watch("nobody", "--url", live.url).end() == (4, "nobody subscribed\nnobody unknown\n", "")
        failing = Watch("later", "--expect", "--queue", "http", "--url", live.url)
        assert await failing.line() == "later subscribed"
        redis.add_event("http", "failed", "later", failedReason="no such page")
        assert await failing.end() == (1, "http/later failed no such page\n", "")
        waiting = Watch("never", "--expect", "--timeout-seconds", "0.2", "--url", live.url)
        assert (await waiting.end())[0] == 5
        assert await Watch("x", "--queue", "nope", "--url", live.url).end() == (
            *(2, "", "jobws: x: this bridge has no `queue` of that label; GET /queues lists them\n"),
        )


async def test_watch_survives_the_bridge(redis: Redis) -> None:
    redis.add_job("http", "7")
    with BridgeProcess("--port", "0", "--redis", redis.url) as first:
        url = await anyio.to_thread.run_sync(first.started)
        watch = Watch("7", "--url", url)
        assert [await watch.line(), await watch.line()] == ["7 subscribed", "http/7 waiting"]
        await anyio.to_thread.run_sync(first.terminate)
    redis.add_event("http", "active", "7", prev="waiting")
    redis.add_event("http", "completed", "7", returnvalue="1")
    with BridgeProcess("--port", url.rpartition(":")[2], "--redis", redis.url) as second:
        await anyio.to_thread.run_sync(second.started)
        assert await watch.end() == (0, "http/7 active\nhttp/7 completed 1\n", "")


async def test_watch_says_when_there_is_no_bridge() -> None:
    code, _, err = await Watch("1", "--url", "http://127.0.0.1:1").end()
    assert code == 3
    assert err.startswith("jobws: no bridge at ws://127.0.0.1:1/ws: ")
    assert len(err.splitlines()) == 1
    code, _, err = await Watch("1", "--url", "localhost").end()
    assert (code, err) == (3, "jobws: localhost is no URL of a bridge; expected http://host:port\n")


SURROGATE = '"\\ud800\\u001b[31m"'


async def test_results_that_are_not_plain_text(redis: Redis) -> None:
    """JSON can contain what is not valid text, and characters that control a terminal."""
    shown = r"\ud800\x1b[31m"
    async with live_bridge(redis.url) as live:
        watch = Watch("x\n1", "--expect", "--queue", "http", "--url", live.url)
        assert await watch.line() == r"x\n1 subscribed"
        redis.add_event("http", "progress", "x\n1", data=SURROGATE)
        redis.add_event("http", "completed", "x\n1", returnvalue=SURROGATE)
        code, out, err = await watch.end()
        assert (code, err) == (0, "")
        assert out.splitlines() == [rf"http/x\n1 active {shown}", rf"http/x\n1 completed {shown}"]
        redis.add_job("http", "y", state="completed", finishedOn="1", returnvalue="[1e999]", progress=SURROGATE)
        ask = partial(anyio.to_thread.run_sync, partial(jobws, url=live.url))
        assert await ask("status", "y") == (0, "http/y completed [Infinity]\n", "")
        assert (await ask("submit", "http", SURROGATE, "--job-id", "z"))[0] == 0
        assert redis.client.hget("bull:http:z", "data") == SURROGATE.encode()


async def test_submit_and_status(redis: Redis) -> None:
    async with live_bridge(redis.url, queues=("shown=my:app:hidden",)) as live:
        run_here = partial(anyio.to_thread.run_sync, partial(jobws, url=live.url))
        code, out, err = await run_here("submit", "shown", '{"a": ["é"]}', "--job-id", "mine", "--name", "näme")
        assert (code, out, err) == (0, "mine\n", "")
        job = redis.client.hgetall("my:app:hidden:mine")
        assert (json.loads(job[b"data"]), job[b"name"]) == ({"a": ["é"]}, "näme".encode())
        code, out, err = await run_here("submit", "shown", "1", "--job-id", "mine")
        assert (code, out, err) == (0, "mine\n", "jobws: shown/mine was there already, and is as it was\n")
        keyed = ("submit", "shown", "-5", "--idempotency-key", "k", "--opts", '{"attempts": 3}')
        code, first, _ = await run_here(*keyed)
        assert (await run_here(*keyed))[1] == first
        assert redis.client.hget(f"my:app:hidden:{first.strip()}", "data") == b"-5"
        assert await run_here("status", "mine") == (0, "shown/mine waiting\n", "")
        redis.client.zadd("my:app:hidden:completed", {"mine": 5})
        redis.client.hset("my:app:hidden:mine", mapping={"finishedOn": 5, "returnvalue": '{"x":"é"}'})
        assert await run_here("status", "mine", "--queue", "shown") == (0, 'shown/mine completed {"x": "é"}\n', "")
        code, out, err = await run_here("status", "mine", "--json")
        assert json.loads(out)["returnvalue"] == {"x": "é"}
        assert await run_here("status", "nobody") == (
            *(4, "", "jobws: no job of that id in any queue; it may have been removed\n"),
        )
        assert await run_here("submit", "hidden", "1") == (
            *(2, "", "jobws: this bridge has no `queue` of that label; GET /queues lists them\n"),
        )
        assert await run_here("submit", "shown", "1", "--job-id", "5") == (
            *(2, "", "jobws: `jobId` must be no integer and hold no colon: BullMQ refuses both\n"),
        )


def test_a_url_where_no_bridge_is() -> None:
    """Each sentence is complete. In the first case, nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    refused = f"jobws: no bridge at {url}: [Errno 111] Connection refused\n"
    assert jobws("status", "1", url=url) == (3, "", refused)
    assert jobws("submit", "http", "1", url=url) == (3, "", refused)
    nobody = f"jobws: no bridge at ws://127.0.0.1:{port}/ws: all attempts to connect to 127.0.0.1:{port} failed\n"
    assert jobws("watch", "1", url=url) == (3, "", nobody)
    for command in ("status", "watch"):
        for wrong in ("localhost:8787", "ftp://localhost", "http://", "http://localhost:80x"):
            sentence = f"jobws: {wrong} is no URL of a bridge; expected http://host:port\n"
            assert jobws(command, "1", url=wrong) == (3, "", sentence)


async def test_a_url_where_something_else_is(redis: Redis) -> None:
    """There is a bridge, but below another path."""
    async with live_bridge(redis.url) as live:
        ask = partial(anyio.to_thread.run_sync, partial(jobws, url=live.url + "/nowhere"))
        elsewhere = f"jobws: no bridge at {live.url}/nowhere: there is one, but below another path\n"
        assert await ask("status", "1") == (3, "", elsewhere)
        code, _, err = await ask("watch", "1")
        assert code == 3
        assert err.startswith(f"jobws: no bridge at {live.url.replace('http', 'ws')}/nowhere/ws: ")


def run(*arguments: str, hide: str = "") -> tuple[int, str]:
    """Run `jobws` as if the modules in `hide` were not installed. Return its exit code and standard error."""
    if not hide:
        process = Started("jobws", *arguments, env=dict(os.environ), stderr=PIPE)
        _, err = process.communicate()
        return process.wait(), err
    code = (
        "import sys\n"
        f"for name in {hide.split()!r}: sys.modules[name] = None\n"
        f"sys.argv = ['jobws', *{list(arguments)!r}]\n"
        "from jobws.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("arguments", "hide", "sentence"),
    [
        (("watch", "1"), "cyclopts", "the command line needs an extra: pip install 'jobws[cli]'"),
        (("serve",), "redis", "jobws serve needs an extra: pip install 'jobws[serve]'"),
        (("serve",), "hypercorn", "jobws serve needs an extra: pip install 'jobws[serve]'"),
        (("demo", "--once"), "bullmq", "jobws demo needs an extra: pip install 'jobws[demo]'"),
        (("demo", "--once"), "rdflib", "jobws demo needs an extra: pip install 'jobws[demo]'"),
        (
            ("submit", "http", "{no"),
            "",
            "data is no JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))",
        ),
        (("submit", "http", '{"a": NaN}'), "", "data is no JSON (NaN is not JSON)"),
        (
            ("submit", "http", "1", "--opts", '{"delay": 1e400}'),
            "",
            "opts is no JSON (a number is out of range)",
        ),
        (("submit", "\udcff", "1"), "", "queue is no UTF-8 text"),
        (("submit", "http", "1", "--idempotency-key", "€"), "", "idempotency_key must be printable ASCII"),
        (("status", "\udcff"), "", "job is no UTF-8 text"),
        (("retry", "http"), "", "http is no job; expected QUEUE/ID, for instance http/42"),
        (("remove", "/1"), "", "/1 is no job; expected QUEUE/ID, for instance http/42"),
        (("pause", "\udcff"), "", "queue is no UTF-8 text"),
        (("watch", "1", "\udcff"), "", "job 2 is no UTF-8 text"),
        (("watch", "1", "--timeout-seconds", "nan"), "", "timeout_seconds must be above 0"),
        (("serve", "--port", "70000"), "", "there is no port 70000; it must be 0 to 65535"),
        (
            ("serve", "--allow-origin", "*"),
            "",
            "--allow-origin takes the origins one by one: '*' would let in every page",
        ),
        (("serve", "--no-auth", "--host", "a..b"), "", "cannot listen on a..b:8787: that is no name of a host"),
        (
            ("serve", "--queue", "\udcff"),
            "",
            'cannot read the queue "\\udcff"; expected label=prefix:name, prefix:name or name',
        ),
        (
            ("serve", "--queue", "*=bull:http"),
            "",
            'the queue "*=bull:http" needs another label than *, which means every queue',
        ),
        (("submit", "http", "1", "--opts", "[]"), "", "opts must be a JSON object"),
        (("watch",), "", 'Command "watch" parameter --job requires an argument.'),
        (
            ("sevre",),
            "",
            'Unknown command "sevre". Did you mean "serve"? '
            "Available commands: serve, watch, submit, status, logs, retry, promote, remove, ...",
        ),
        (("serve", "--port", "x"), "", 'Invalid value for --port: unable to convert "x" into int.'),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_errors_are_one_line(arguments: tuple[str, ...], hide: str, sentence: str) -> None:
    assert run(*arguments, hide=hide) == (2, f"jobws: {sentence}\n")


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 60_000])
def test_what_is_nested_too_deep_is_one_line(levels: int) -> None:
    for arguments in ((nested_text(levels),), ("1", "--opts", nested_text(levels))):
        assert run("submit", "http", *arguments) == (
            2,
            "jobws: the JSON is nested too deep; it may have 512 levels\n",
        )


def test_the_client_needs_nothing_of_the_server() -> None:
    hidden = ("redis", "hiredis", "starlette", "hypercorn", "prometheus_client", "cyclopts", "rich")
    code = f"import sys\nfor name in {hidden!r}: sys.modules[name] = None\nimport jobws.client"
    subprocess.run([sys.executable, "-c", code], check=True)
