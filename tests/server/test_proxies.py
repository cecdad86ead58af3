"""What a proxy in front changes: the address by which a client is limited, and the path of the bridge."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from jobws.access.caller import ADDRESS
from jobws.errors import ConfigurationError
from jobws.server.bridge import Bridge
from jobws.server.proxies import Addresses, Proxied
from jobws.server.settings import Settings
from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.http import ask, call, exchange

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from tests.support.redis import Redis

TRUSTED = ("10.0.0.0/8", "2001:db8::1")


async def passed(client: str | None, header: str | None, **settings: Any) -> Scope:
    """What the app behind the middleware gets."""
    seen: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope)

    headers = [] if header is None else [(b"x-forwarded-for", header.encode()), (b"forwarded", b"for=192.0.2.77")]
    scope: Any = {"type": "http", "path": "/queues", "headers": headers, "client": client and (client, 1)}
    unused: Any = None
    await Proxied(app, Settings(**settings))(scope, unused, unused)
    return seen[0]


@pytest.mark.parametrize(
    ("client", "header", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "192.0.2.9", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.9", "192.0.2.9"),
        ("10.0.0.1", "192.0.2.7, 192.0.2.9", "192.0.2.9"),
        ("10.0.0.1", "192.0.2.7, 192.0.2.9, 10.1.1.1", "192.0.2.9"),
        ("::ffff:10.0.0.1", "::ffff:192.0.2.9", "192.0.2.9"),
        ("2001:db8::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("10.0.0.1", "127.0.0.1", None),
        ("10.0.0.1", "10.0.0.2", None),
        ("10.0.0.1", "192.0.2.9:1000", "192.0.2.9"),
        ("10.0.0.1", "192.0.2.9:1000, 10.1.1.1:1", "192.0.2.9"),
        ("10.0.0.1", "[2001:db8:1:2::3]", "2001:db8:1:2::/64"),
        ("10.0.0.1", "[2001:db8:1:2::3]:1000", "2001:db8:1:2::/64"),
        ("10.0.0.1", "[::ffff:192.0.2.9]:1000", "192.0.2.9"),
        ("10.0.0.1", "64:ff9b::192.0.2.9", "192.0.2.9"),
        ("64:ff9b::192.0.2.9", None, "192.0.2.9"),
        ("64:ff9b:1::192.0.2.9", None, "64:ff9b:1::/64"),
        ("10.0.0.1", "192.0.2.9, unknown", "0.0.0.0"),
        ("10.0.0.1", "192.0.2.9, _hidden, 10.1.1.1", "0.0.0.0"),
        ("10.0.0.1", "192.0.2.9,", "0.0.0.0"),
        ("10.0.0.1", "[192.0.2.9", "0.0.0.0"),
        ("10.0.0.1", "192.0.2.9:", "0.0.0.0"),
        ("10.0.0.1", " ", None),
        ("10.0.0.1", None, None),
        ("127.0.0.1", "192.0.2.9", None),
        ("::1", None, None),
        (None, None, None),
    ],
)
async def test_only_trusted_proxies_are_believed(client: str | None, header: str | None, address: str | None) -> None:
    assert (await passed(client, header, trusted_proxies=TRUSTED))[ADDRESS] == address


def test_a_connection_is_limited_by_the_address_of_its_socket() -> None:
    addresses = Addresses(Settings(trusted_proxies=TRUSTED))
    clients = ("192.0.2.1", "2001:db8:1:2::3", "10.0.0.1", "127.0.0.1", "::1")
    assert [*map(addresses.limited_client, clients)] == ["192.0.2.1", "2001:db8:1:2::/64", None, None, None]


async def test_one_warning_says_what_to_do_about_a_text_that_is_no_address(caplog: pytest.LogCaptureFixture) -> None:
    no_app: Any = None
    proxied = Proxied(no_app, Settings(trusted_proxies=TRUSTED))
    for text in (b"192.0.2.9:1", b"unix:\n" + b"x" * 200, b"unknown"):
        scope: Any = {"type": "http", "headers": [(b"x-forwarded-for", text)], "client": ("10.0.0.1", 1)}
        proxied.address(scope)
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("a trusted proxy sends 'unix:\\nxxx")
    assert len(line) < 400
    assert "into x-forwarded-for, or name the header that has it with --proxy-header" in line


async def test_the_header_has_the_name_of_the_setting() -> None:
    scope = await passed("10.0.0.1", "192.0.2.9", trusted_proxies=TRUSTED, proxy_header="x-client")
    assert scope[ADDRESS] is None


@pytest.mark.parametrize("prefix", ["", "/outside"])
async def test_a_path_prefix_is_where_the_setting_says(redis: Redis, prefix: str) -> None:
    """Whether the proxy takes it away or not."""
    async with live_bridge(redis.url, queues=("http",), root_path="/outside", auth=False) as live:
        body = (await call("POST", f"{live.url}{prefix}/jobs/http", {"data": 1}))[1]
        assert body["links"]["job"] == f"/outside/jobs?queue=http&jobId={body['jobId']}"
        document = json.loads((await ask(f"{live.url}{prefix}/openapi.json", X_Forwarded_Prefix="/x"))[1])
        assert document["servers"] == [{"url": "/outside"}]
        async with raw_client(live.url + prefix) as client:
            assert (await client.ask("subscribe-job", body["jobId"]))["event"] == "ack"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"trusted_proxies": ("10.0.0.0/8", "x")},
            "--trusted-proxy takes addresses and networks such as 10.0.0.0/8, not x",
        ),
        ({"proxy_header": "Forwarded"}, "--proxy-header forwarded is not read; let the proxy send X-Forwarded-For"),
        ({"root_path": "jobs"}, "--root-path begins with a slash and does not end with one, for instance /live"),
        ({"root_path": "/jobs/"}, "--root-path begins with a slash and does not end with one, for instance /live"),
        (
            {"allowed_origins": ("https://a.*.example",)},
            "--allow-origin https://a.*.example: a * can only stand for the first label, as in https://*.example.com",
        ),
        (
            {"allowed_origins": ("https://*",)},
            "--allow-origin https://*: a * can only stand for the first label, as in https://*.example.com",
        ),
    ],
)
def test_settings_that_cannot_work_say_so(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Settings(**settings).check()
    assert str(raised.value) == sentence


async def test_a_route_cannot_be_the_path_prefix() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Bridge(Settings(root_path="/jobs"))
    assert str(raised.value) == "--root-path /jobs: routes of the bridge begin with it; take another, as /live"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example.com", True),
        ("https://a-1.example.com", True),
        ("https://example.com", False),
        ("https://a.b.example.com", False),
        ("https://a.example.com.evil.test", False),
        ("https://aXexample.com", False),
        ("http://a.example.com", False),
        ("https://a.example.com:8443", False),
        ("https://.example.com", False),
    ],
)
async def test_a_pattern_of_an_origin_stands_for_one_label(redis: Redis, origin: str, allowed: bool) -> None:
    async with live_bridge(redis.url, allowed_origins=("https://*.example.com",)) as live:
        send = partial(exchange, "POST", live.url + "/lookup", "1", {"Origin": origin})
        answer = await anyio.to_thread.run_sync(send)
    assert answer.status == (200 if allowed else 403)
    assert (("access-control-allow-origin", origin) in answer.headers) == allowed
