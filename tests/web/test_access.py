"""What foreign pages, and pages that rebind their name, can do in a browser against a bridge with keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.page_server import PageServer
    from tests.support.redis import Redis

# Open a WebSocket. Its value is what `hello` says, or the code with which the connection ended before.
OPEN: Final = """([url, ...protocols]) => new Promise((resolve) => {
    const socket = new WebSocket(url.replace('http', 'ws') + '/ws', protocols);
    socket.onmessage = ({ data }) => {
        const { auth, queues } = JSON.parse(data).data;
        socket.close();
        resolve({ auth: auth ?? false, queues });
    };
    socket.onclose = ({ code }) => resolve(code);
})"""
ASK: Final = """([url, options]) =>
    fetch(url + '/whoami', options).then(({ status }) => status, (error) => error.name)"""
SET: Final = "(token) => { document.cookie = `__Host-jobws=${token}; Secure; Path=/; SameSite=Strict` }"
TOKEN: Final = jwt("read:jobs:http", seconds=3600)
BEARER: Final = {"headers": {"Authorization": f"Bearer {TOKEN}"}}
KNOWN: Final = {"auth": False, "queues": ["http"]}
UNKNOWN: Final = {"auth": True, "queues": []}
REFUSED: Final = 1006
"""The code that a browser reports if the handshake was refused."""


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_page_of_another_origin(redis: Redis, chromium: Chromium, pages: PageServer, allowed: bool) -> None:
    origins = (pages.origin,) if allowed else ()
    async with (
        keyed_bridge(redis.url, queues=("http",), allowed_origins=origins) as live,
        chromium.page(f"{live.url}/healthz") as own,
        chromium.page(f"{pages.origin}/blank.html") as foreign,
    ):
        assert await own.run(OPEN, [live.url, "jobws.v1", f"bearer.{TOKEN}"]) == KNOWN
        expected = KNOWN if allowed else REFUSED
        assert await foreign.run(OPEN, [live.url, "jobws.v1", f"bearer.{TOKEN}"]) == expected
        assert await foreign.run(OPEN, [live.url]) == (UNKNOWN if allowed else REFUSED)
        assert await foreign.run(ASK, [live.url, BEARER]) == (200 if allowed else "TypeError")


async def test_a_cookie_counts_on_the_bridges_own_pages_only(
    redis: Redis, chromium: Chromium, pages: PageServer
) -> None:
    """The other page is on the same host, at another port, so the browser sends it the same cookies."""
    async with (
        keyed_bridge(redis.url, queues=("http",), allowed_origins=(pages.origin,)) as live,
        chromium.page(f"{live.url}/healthz") as page,
    ):
        await page.run(SET, TOKEN)
        assert await page.run(OPEN, [live.url, "jobws.v1"]) == KNOWN
        assert await page.run(ASK, [live.url, {}]) == 200
        await chromium.run(page.tab.goto, f"{pages.origin}/blank.html")
        assert await page.run("document.cookie") == f"__Host-jobws={TOKEN}"
        assert await page.run(OPEN, [live.url, "jobws.v1"]) == UNKNOWN
        assert await page.run(ASK, [live.url, {}]) == 401
        assert await page.run(ASK, [live.url, {"credentials": "include"}]) == "TypeError"


@pytest.mark.parametrize("named", [True, False], ids=["with --allow-host", "without it"])
async def test_a_page_that_rebinds_its_name(redis: Redis, chromium: Chromium, named: bool) -> None:
    hosts = ("bridge.example",) if named else ()
    async with keyed_bridge(redis.url, queues=("http",), allowed_hosts=hosts) as live:
        port = live.url.rpartition(":")[2]
        rebound = f"http://rebound.example:{port}"
        async with chromium.page(f"{rebound}/healthz") as page:
            assert await page.run(OPEN, [rebound]) == (REFUSED if named else UNKNOWN)
            assert await page.run(ASK, [rebound, {}]) == (403 if named else 401)
        async with chromium.page(f"http://bridge.example:{port}/healthz") as page:
            assert await page.run(OPEN, [f"http://bridge.example:{port}"]) == UNKNOWN
