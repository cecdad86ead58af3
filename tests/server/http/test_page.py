"""The page at `/` and its files: what headers they have, and that they are not there with `--no-page`."""

from __future__ import annotations

import gzip
from functools import partial
from typing import TYPE_CHECKING

import anyio.to_thread

from jobws.server.http.page import CONTENT_SECURITY_POLICY
from tests.support.bridge import live_bridge
from tests.support.http import Answer, exchange
from tests.support.page import LOADED
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

TYPES = {
    "/": "text/html; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/page.css": "text/css; charset=utf-8",
    "/page.svg": "image/svg+xml",
}
# How many bytes all that a browser loads may have.
LIMIT = 40_000


async def get(url: str, headers: dict[str, str] | None = None) -> Answer:
    return await anyio.to_thread.run_sync(partial(exchange, "GET", url, None, headers or {}))


async def test_its_files_run_nothing_but_themselves(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        for path, media_type in TYPES.items():
            answer = await get(live.url + path)
            assert answer.status == 200
            headers = dict(answer.headers)
            assert len(headers) == len(answer.headers)  # the policy, too, is there once
            assert headers["content-type"] == media_type
            assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers
            again = await get(live.url + path, {"If-None-Match": headers["etag"]})
            assert again.status == 304
            assert dict(again.headers)["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'none'" in CONTENT_SECURITY_POLICY


async def test_all_of_it_is_small(redis: Redis) -> None:
    async with live_bridge(redis.url) as live:
        answers = [await get(live.url + path, {"Accept-Encoding": "gzip"}) for path in LOADED]
    for answer in answers:
        assert gzip.decompress(answer.body)
    assert sum(len(answer.body) for answer in answers) <= LIMIT


async def test_without_the_page_its_paths_are_not_served(redis: Redis) -> None:
    async with live_bridge(redis.url, page=False) as live:
        for path in TYPES:
            assert (await get(live.url + path)).status == 404
        assert (await get(live.url + "/jobws.js")).status == 200
    async with keyed_bridge(redis.url, page=False) as live:
        for path in TYPES:
            assert (await get(live.url + path)).status == 401
            assert (await get(live.url + path, {"Authorization": f"Bearer {jwt('admin')}"})).status == 404
