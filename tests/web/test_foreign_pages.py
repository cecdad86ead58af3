"""Which pages reach a bridge: by their origin, by what carries their token, and after their name was rebound."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
import trio

from jobws.embedded import free_port
from jobws.tokens import job_scope
from tests.chaos.proxy import Proxy
from tests.support import eventually
from tests.support.bridge import live_bridge
from tests.support.certificates import certify
from tests.support.proxies import TEMPORARY, nginx
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.browser import Chromium, Page
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

# Resolves with the state of job 42, or the code of the error, or 'not opened'.
WATCH: Final = """([url, carrier, token]) => new Promise((resolve) => {
  const socket = new WebSocket(url, ['jobws.v1', ...(carrier === 'subprotocol' ? [`bearer.${token}`] : [])]);
  const send = (event, data) => socket.send(JSON.stringify({ event, data, ref: event }));
  const subscribe = () => send('subscribe-job', { jobId: '42', queue: 'http' });
  socket.onopen = () => (carrier === 'authenticate' ? send('authenticate', { token }) : subscribe());
  socket.onmessage = ({ data: text }) => {
    const { event, ref, data } = JSON.parse(text);
    if (ref === 'authenticate' && event === 'ack') subscribe();
    else if (ref) resolve(data.code ?? data.jobs[0].state);
  };
  socket.onclose = ({ code }) => resolve(code === 1006 ? 'not opened' : code);
})"""
# Resolves with the status, or 'blocked' if the browser does not show the page the answer.
LOOK_UP: Final = """([url, token]) => fetch(
  `${url}/jobs/http/42`,
  token ? { headers: { authorization: `Bearer ${token}` } } : { credentials: 'include' },
).then(({ status }) => status, () => 'blocked')"""
CLOSED: Final = "not opened"
BLOCKED: Final = "blocked"
COOKIE: Final = "__Host-jobws"


def site(port: int, name: str, target: str) -> str:
    """Return nginx's configuration of a site with TLS."""
    return f"""
    server {{
      listen 127.0.0.1:{port} ssl;
      server_name {name};
      ssl_certificate example.com.pem;
      ssl_certificate_key example.com.key;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_header;
      location / {{ proxy_pass {target}; }}
    }}"""


@contextmanager
def with_tls(folder: Path, port: int, bridge: str, pages: str) -> Iterator[None]:
    """Serve a bridge as jobs.example.com, and pages under any other name. `asked` has statuses and cookies."""
    certify(folder, "example.com")
    configuration = f"""
    pid nginx.pid; error_log stderr; daemon off; events {{}}
    http {{ {TEMPORARY}
    log_format asked '$status $uri $http_cookie'; access_log asked asked;
    map $http_upgrade $connection_header {{ default upgrade; '' ''; }}
    {site(port, "pages.example", pages)} {site(port, "jobs.example.com", bridge)} }}"""
    with nginx(folder, configuration):
        yield


@pytest.mark.parametrize(
    ("name", "same_site", "by_token", "by_cookie", "statuses"),
    [
        pytest.param("jobs.example.com", "Strict", ["active", 200], ["active", 200], (101, 200), id="own"),
        pytest.param(
            "app.example.com", "Strict", ["active", 200], ["unauthenticated", BLOCKED], (101, 401), id="allowed"
        ),
        pytest.param("other.example.com", "Strict", [CLOSED, BLOCKED], [CLOSED, BLOCKED], (403, 401), id="sibling"),
        pytest.param("foreign.example", "None", [CLOSED, BLOCKED], [CLOSED, BLOCKED], (403, 401), id="foreign"),
    ],
)
async def test_a_page_reaches_the_bridge_if_its_origin_is_allowed(
    redis: Redis,
    chromium: Chromium,
    pages: PageServer,
    tmp_path: Path,
    name: str,
    same_site: str,
    by_token: list[object],
    by_cookie: list[object],
    statuses: tuple[int, int],
) -> None:
    """A cookie counts for the bridge's own pages only, although the browser sends it for others, too."""
    redis.add_job("http", "42", state="active")
    port, token = free_port(), jwt(job_scope("http", "42"))
    base, allowed = f"https://jobs.example.com:{port}", (f"https://app.example.com:{port}",)
    asked = tmp_path / "asked"
    async with keyed_bridge(redis.url, allowed_origins=allowed, trusted_proxies=("127.0.0.1",)) as live:
        with with_tls(tmp_path, port, live.url, pages.origin):
            async with chromium.page(f"https://{name}:{port}/healthz") as page:
                looked_up = await page.run(LOOK_UP, [base, token])
                for carrier in ("subprotocol", "authenticate"):
                    assert [await watch(page, base, carrier, token), looked_up] == by_token, carrier
                cookie = {"name": COOKIE, "value": token, "url": base, "sameSite": same_site}
                await chromium.run(page.tab.context.add_cookies, [{**cookie, "secure": True, "httpOnly": True}])
                assert [await watch(page, base, "cookie", token), await page.run(LOOK_UP, [base, None])] == by_cookie
            # nginx writes of a WebSocket when it has ended.
            expected = {f"{statuses[0]} /ws {COOKIE}={token}", f"{statuses[1]} /jobs/http/42 {COOKIE}={token}"}
            await eventually(lambda: {each for each in asked.read_text().splitlines() if COOKIE in each} == expected)


async def watch(page: Page, base: str, carrier: str, token: str) -> Any:
    return await page.run(WATCH, [f"{base.replace('http', 'ws', 1)}/ws", carrier, token])


@pytest.mark.parametrize(
    ("settings", "status", "answer"),
    [
        pytest.param({"jwt_secret": "x" * 32, "allowed_hosts": ("jobs.example.com",)}, 403, CLOSED, id="host"),
        pytest.param({"jwt_secret": "x" * 32}, 401, "unauthenticated", id="no host"),
        pytest.param({}, 403, CLOSED, id="no key"),
    ],
)
async def test_a_page_whose_name_was_rebound_reads_nothing(
    redis: Redis, chromium: Chromium, pages: PageServer, settings: dict[str, Any], status: int, answer: str
) -> None:
    """For the browser, the bridge is then the page's own server."""
    redis.add_job("http", "42", state="active")
    async with live_bridge(redis.url, **settings) as live, trio.open_nursery() as nursery:
        leads_to = Proxy(port_of(pages.origin))
        nursery.start_soon(leads_to.run)
        base = f"http://rebound.example:{leads_to.port}"
        async with chromium.page(f"{base}/blank.html") as page:
            leads_to.target = port_of(live.url)
            leads_to.cut()
            assert await page.run(LOOK_UP, [base, None]) == status
            assert await watch(page, base, "none", "") == answer
        nursery.cancel_scope.cancel()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
