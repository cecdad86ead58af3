"""The JavaScript files are those of the package, any origin may read them, and browsers keep them until they change."""

from __future__ import annotations

import gzip
import http.client
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio.to_thread
import pytest

from tests.support.bridge import live_bridge
from tests.support.mounted import mounted_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

WEB = Path(__file__).parent.parent.parent / "src" / "jobws" / "web"
ADAPTER = (WEB / "jobws.js").read_bytes()
FILES = [
    *(f"jobws{part}.js" for part in ("", "-http", "-all", "-queues")),
    "elements.js",
    *(str(each.relative_to(WEB)) for each in (WEB / "src").rglob("*.js")),
]
# How many bytes with gzip a page loads: without the fallback, with it, and besides, for whole queues, or the elements.
LIMITS = {"jobws.js": 7000, "jobws-all.js": 8500, "jobws-queues.js": 900, "elements.js": 13_000}
FOREIGN = "https://page.example"


async def fetch(
    url: str, method: str = "GET", path: str = "jobws.js", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Return status, headers and body of the adapter from the bridge at this URL."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await anyio.to_thread.run_sync(partial(_fetch, f"{url}/{path}", method, named))


def _fetch(url: str, method: str, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request(method, parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


async def test_it_is_a_module_that_is_asked_for_again_each_time(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        status, headers, body = await fetch(live.url)
        assert (status, body) == (200, ADAPTER)
        assert headers["content-type"] == "text/javascript; charset=utf-8"
        assert headers["cache-control"] == "no-cache"
        status, about, body = await fetch(live.url, "HEAD")
        assert (status, body, about["etag"]) == (200, b"", headers["etag"])
        assert about["content-length"] == str(len(ADAPTER))


async def test_all_its_files_are_served(redis: Redis) -> None:
    """Also the sources, for people who want to read what runs."""
    async with live_bridge(redis.url) as live:
        for name in FILES:
            status, headers, body = await fetch(live.url, path=name, Origin=FOREIGN)
            assert (status, body) == (200, (WEB / name).read_bytes()), name
            assert headers["content-type"] == "text/javascript; charset=utf-8"
            assert headers["access-control-allow-origin"] == "*"
        for path in (
            "src/nope.js",
            "src/",
            "src",
            "src/elements",
            "src/elements/",
            "src/../jobws.js",
            "src/%2e%2e%2fjobws.js",
        ):
            assert (await fetch(live.url, path=path))[0] in (400, 404), path


async def test_it_is_small(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        sizes = {name: len((await fetch(live.url, path=name, Accept_Encoding="gzip"))[2]) for name in FILES}
    for name, limit in LIMITS.items():
        assert sizes[name] <= limit
    assert sizes["jobws.js"] + sizes["jobws-http.js"] <= LIMITS["jobws-all.js"]


async def test_whoever_has_it_gets_304(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        etag = (await fetch(live.url))[1]["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            status, headers, body = await fetch(live.url, If_None_Match=known)
            assert (status, body, headers["etag"]) == (304, b"", etag), known
            assert headers["access-control-allow-origin"] == "*"
        for known in ('"other"', etag.strip('"'), etag[:-2] + '"', ""):
            assert (await fetch(live.url, If_None_Match=known))[0] == 200, known


@pytest.mark.parametrize("allowed_hosts", [(), ("127.0.0.1",)])
@pytest.mark.parametrize("allowed_origins", [(), ("https://other.example",)])
async def test_any_origin_may_read_it(
    redis: Redis, allowed_origins: tuple[str, ...], allowed_hosts: tuple[str, ...]
) -> None:
    async with live_bridge(redis.url, allowed_origins=allowed_origins, allowed_hosts=allowed_hosts) as live:
        for origin in (FOREIGN, "null"):
            status, headers, body = await fetch(live.url, Origin=origin)
            assert (status, headers.get_all("access-control-allow-origin"), body) == (200, ["*"], ADAPTER)
        assert (await fetch(live.url, Host="rebound.example"))[0] == 403


async def test_an_allowed_origin_reads_it_as_all_else(redis: Redis) -> None:
    async with live_bridge(redis.url, allowed_origins=(FOREIGN,)) as live:
        headers = (await fetch(live.url, Origin=FOREIGN))[1]
        assert headers.get_all("access-control-allow-origin") == [FOREIGN]


async def test_a_mounted_bridge_serves_it_too(redis: Redis) -> None:
    with mounted_bridge(redis.url, "fastapi") as url:
        assert (await fetch(url))[2] == ADAPTER


async def test_it_comes_compressed_to_whoever_takes_that(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        plain = (await fetch(live.url))[1]["etag"]
        for accepted in ("gzip", "br;q=1, GZIP ; q=0.5", "gzip, deflate, br, zstd"):
            status, headers, body = await fetch(live.url, Accept_Encoding=accepted)
            assert (status, headers["content-encoding"]) == (200, "gzip")
            assert headers["vary"].lower().startswith("accept-encoding")
            assert len(body) < len(ADAPTER) / 2
            assert gzip.decompress(body) == ADAPTER
            assert headers["etag"] != plain
            assert (await fetch(live.url, Accept_Encoding=accepted, If_None_Match=headers["etag"]))[0] == 304
            assert (await fetch(live.url, If_None_Match=headers["etag"]))[0] == 200
        for accepted in ("identity", "gzip;q=0", "gzip; q=0.000", "br", ""):
            status, headers, body = await fetch(live.url, Accept_Encoding=accepted)
            assert (status, headers["content-encoding"], body) == (200, None, ADAPTER), accepted
