"""`jobws serve` as a new user sees it: what it prints, when it waits, and when it refuses to start."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio_websocket

from jobws.embedded import free_port
from tests.support import eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.client import raw_client
from tests.support.http import get
from tests.support.proxies import ask, nginx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.redis import Redis


def one_line_error(*arguments: str) -> str:
    """Return the only line that `jobws serve` prints, and check that its exit code is 2."""
    with BridgeProcess(*arguments) as bridge:
        assert bridge.wait() == 2
        (line,) = bridge.lines
        return line


def test_the_report_tells_what_was_found(redis: Redis) -> None:
    redis.make_queue("http")
    redis.add_event("http", "completed", "1", returnvalue="1")
    redis.make_queue("tech-stack")
    redis.make_queue("http", prefix="myapp")
    redis.client.hset("bull:sparql:meta", "opts.maxLenEvents", "101")
    for number in range(200):
        redis.add_entry("sparql", {b"event": "waiting", b"jobId": "1"}, stream_id=f"{1795435729000 + 20 * number}-0")
    with BridgeProcess("--port", "0", "--redis", redis.url) as bridge:
        bridge.started()
        text = "\n".join(bridge.lines)
        assert bridge.terminate() == 0
    info: Any = redis.client.info()
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    assert f"{name} at redis://127.0.0.1:" in text
    assert 'queue "http": 1 events in the stream, nothing trimmed yet' in text
    assert 'queue "sparql": 200 events in the stream, 4 s back' in text
    assert (
        'queue "sparql" keeps only 4 s of events: a later subscriber needs the job itself; keep jobs with '
        "removeOnComplete: {age: 3600}, or raise streams.events.maxLen above 101"
    ) in text
    assert 'no queue "techstack" under prefix "bull" in db 0; found: bull:tech-stack, myapp:http' in text
    assert ":" + redis.server.url.split(":")[2].split("@")[0] not in text  # the password must not be shown


def test_the_report_tells_what_was_discovered(redis: Redis) -> None:
    redis.make_queue("emails")
    redis.add_event("emails", "completed", "1", returnvalue="1")
    redis.make_queue("other", prefix="elsewhere")
    with BridgeProcess("--port", "0", "--redis", redis.url, "--queues", "*") as bridge:
        bridge.started()
        text = "\n".join(bridge.lines)
        assert bridge.terminate() == 0
    assert '1 queues under prefix "bull"; further ones are read as they appear' in text
    assert 'queue "emails": 1 events in the stream, nothing trimmed yet' in text
    assert "other" not in text


def test_a_wrong_password_is_one_line(redis: Redis) -> None:
    port = redis.server.port
    assert one_line_error("--port", "0", "--redis", f"redis://:wrong@127.0.0.1:{port}/0") == (
        f"jobws: Redis at redis://127.0.0.1:{port}/0 refuses the login: "
        "invalid username-password pair or user is disabled."
    )
    assert one_line_error("--port", "0", "--redis", f"redis://127.0.0.1:{port}/0") == (
        f"jobws: Redis at redis://127.0.0.1:{port}/0 wants a password: --redis redis://:password@host:port/db"
    )


def test_an_unparsable_url_is_one_line() -> None:
    assert one_line_error("--redis", "http://:secret@localhost") == (
        "jobws: cannot read the Redis URL (Redis URL must specify one of the following schemes "
        "(redis://, rediss://, unix://)); expected redis://[user:password@]host:port/db"
    )


def test_a_port_in_use_is_one_line(redis: Redis) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert one_line_error("--port", str(port), "--redis", redis.url) == (
            f"jobws: cannot listen on 127.0.0.1:{port}: the port is in use; choose another with --port"
        )


def test_other_addresses_need_a_decision() -> None:
    assert one_line_error("--host", "0.0.0.0") == (
        "jobws: without a key jobws listens on loopback only, not on 0.0.0.0; "
        "--no-auth serves everybody who can reach the port"
    )


def test_two_queues_of_one_label_are_refused() -> None:
    assert one_line_error("--queue", "a=x:one", "--queue", "a=y:two") == (
        'jobws: two queues are labelled "a" (x:one, y:two); give one of them another label: --queue other=y:two'
    )


def test_a_rule_of_privacy_for_a_queue_that_is_not_there_is_refused() -> None:
    assert one_line_error("--redact", "htpp:data") == (
        'jobws: --redact htpp:data: the bridge has no queue "htpp"; its queues are http, sparql, techstack, analyzer'
    )


def test_or_told_where_it_may_come_later(redis: Redis) -> None:
    """The rules come from the environment, too, with spaces between them."""
    redis.make_queue("emails")
    redis.make_queue("sms")
    environment = {"JOBWS_REDACT": "emails:data.a later:failedReason"}
    flags = ("--queues", "*", "--no-results", "sms", "--show-data", "soon", "--show-stacktraces", "*")
    with BridgeProcess("--port", "0", "--redis", redis.url, *flags, environment=environment) as bridge:
        bridge.started()
        told = [line for line in bridge.lines if "rules" in line]
        assert bridge.terminate() == 0
    assert [line.partition("rules ")[2] for line in told] == [
        'say what clients see of queue "later", which is not there yet',
        'say what clients see of queue "soon", which is not there yet',
    ]


async def test_redis_that_is_away_is_waited_for(own_redis: Callable[..., Redis]) -> None:
    redis = own_redis()
    redis.server.kill()
    with BridgeProcess("--port", "0", environment={"REDIS_URL": redis.url}) as bridge:
        url = await anyio.to_thread.run_sync(bridge.started)
        text = "\n".join(bridge.lines)
        assert "does not answer" in text
        assert "waiting for it" in text
        status, body = await anyio.to_thread.run_sync(get, url + "/readyz")
        assert status == 503
        assert set(json.loads(body)["problems"]) == {"http", "sparql", "techstack", "analyzer"}
        async with raw_client(url) as client:
            await client.send("subscribe-job", "1", ref=1)
            assert (await client.ask("ping"))["event"] == "pong"
            await anyio.to_thread.run_sync(redis.server.start)
            assert (await client.receive())["ref"] == 1
            sent = redis.add_event("http", "completed", "1", returnvalue="1")
            assert (await client.receive())["id"] == sent
        await eventually(lambda: get(url + "/readyz")[0] == 200)
        assert bridge.terminate() == 0


def test_it_ends_though_redis_never_came() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with BridgeProcess("--port", "0", "--redis", f"redis://127.0.0.1:{port}") as bridge:
        bridge.started()
        assert bridge.lines[0].split(" WARNING ")[1] == (
            f"Redis at redis://127.0.0.1:{port} does not answer: Error 111 connecting to 127.0.0.1:{port}. "
            "Connection refused; waiting for it"
        )
        assert bridge.terminate() == 0


async def test_shutdown_tells_idle_clients(redis: Redis) -> None:
    with BridgeProcess("--port", "0", "--redis", redis.url) as bridge:
        url = await anyio.to_thread.run_sync(bridge.started)
        async with raw_client(url) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, bridge.terminate)
            assert await client.closed() == (1012, "the bridge restarts")


async def _refusal(url: str, **headers: str) -> tuple[int, str]:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    with pytest.RaisesGroup(trio_websocket.ConnectionRejected) as caught:
        async with raw_client(url, headers=named):
            pass
    rejected = caught.value.exceptions[0]
    assert isinstance(rejected, trio_websocket.ConnectionRejected)
    return rejected.status_code, (rejected.body or b"").decode()


async def test_strangers_are_refused_with_a_sentence(redis: Redis) -> None:
    async with live_bridge(redis.url, allowed_origins=("https://app.example",)) as live:
        foreign = "origin http://localhost:5173 refused; allow it with --allow-origin http://localhost:5173\n"
        assert await _refusal(live.url, Origin="http://localhost:5173") == (403, foreign)
        assert (await _refusal(live.url, Origin="null"))[0] == 403
        proxied = (
            "request through a proxy refused (it carries x-forwarded-for): without a key jobws serves its own "
            "machine only; --no-auth serves everybody who can reach the port\n"
        )
        assert await _refusal(live.url, X_Forwarded_For="10.0.0.1") == (403, proxied)
        for name in ("Forwarded", "Via", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Prefix"):
            refused = proxied.replace("x-forwarded-for", name.lower())
            assert await _refusal(live.url, **{name.replace("-", "_"): "a"}) == (403, refused)
        rebound = "host evil.example refused; allow it with --allow-host evil.example\n"
        answer = await anyio.to_thread.run_sync(lambda: get(live.url + "/healthz", Host="evil.example"))
        assert answer == (403, rebound)
        for origin in (live.url, live.url.replace("http", "https"), "https://app.example"):
            async with raw_client(live.url, headers=[("Origin", origin)]) as client:
                assert (await client.ask("ping"))["event"] == "pong"


async def test_a_proxy_without_a_trace_in_its_headers_is_refused(redis: Redis, tmp_path: Path) -> None:
    """With the shortest configuration, nginx sends a Host that is loopback, and adds no header."""
    port = free_port()
    async with live_bridge(redis.url) as live:
        configuration = (
            "pid nginx.pid; error_log stderr; daemon off;\nevents {}\n"
            "http { access_log off; client_body_temp_path temp/body; proxy_temp_path temp/proxy;\n"
            "fastcgi_temp_path temp/fastcgi; uwsgi_temp_path temp/uwsgi; scgi_temp_path temp/scgi;\n"
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {live.url}; }} }} }}"
        )
        with nginx(tmp_path, configuration):
            url = f"http://127.0.0.1:{port}"
            for path in ("/queues", "/healthz", "/events?job=1"):
                status, body = await anyio.to_thread.run_sync(ask, url + path, ("Host", "jobs.example.com"))
                assert (status, body) == (
                    403,
                    "request through a proxy refused (it speaks HTTP/1.0): without a key jobws serves its own machine "
                    "only; --no-auth serves everybody who can reach the port\n",
                )
            with pytest.RaisesGroup(trio_websocket.ConnectionRejected, flatten_subgroups=True):
                async with raw_client(url):
                    pass


async def test_no_auth_serves_everybody_but_foreign_pages(redis: Redis) -> None:
    async with live_bridge(redis.url, auth=False) as live:
        async with raw_client(live.url, headers=[("X-Forwarded-For", "10.0.0.1")]) as client:
            assert (await client.ask("ping"))["event"] == "pong"
        assert (await _refusal(live.url, Origin="http://evil.example"))[0] == 403
