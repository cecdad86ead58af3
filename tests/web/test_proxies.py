"""The proxies of docs/deployment.md, as they are printed but for the ports, between Chromium and a bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio.to_thread
import pytest

from jobws.embedded import free_port
from jobws.tokens import job_scope, mint
from tests.support.bridge import BridgeProcess
from tests.support.certificates import certify
from tests.support.documents import block
from tests.support.printed import serve_arguments
from tests.support.proxies import TEMPORARY, changed, haproxy, nginx
from tests.support.web_pages import Pages
from tests.support.web_pages import page as answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.support.browser import Chromium
    from tests.support.redis import Redis

# A page under the bridge's path that follows a job.
FOLLOW: Final = """async (token) => {
  const { io } = await import('/live/jobws.js');
  window.seen = [];
  window.jobs = io('/live', { token, reconnectionDelay: 10, reconnectionDelayMax: 10 });
  jobs.on('progress', ({ data }) => seen.push(data));
  jobs.on('completed', ({ returnvalue }) => seen.push(returnvalue));
  const { jobs: [{ state }] } = await jobs.emitWithAck('subscribe-job', { jobId: '42', queue: 'http' });
  return [state, jobs.transport];
}"""
SEEN: Final = "(values) => seen.join() === values.join()"
OTHER_JOB: Final = (
    "() => jobs.emitWithAck('subscribe-job', { jobId: '43', queue: 'http' }).then((answer) => answer.error.code)"
)


NGINX: Final = (
    f"pid nginx.pid; error_log error.log info; daemon off; events {{}}\nhttp {{ access_log all.log; {TEMPORARY}\n"
)


def with_nginx(folder: Path, port: int, bridge: str, changes: Mapping[str, str]) -> AbstractContextManager[None]:
    """Run nginx as the document prints it, apart from its addresses, its files and `changes`."""
    usual = {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "/etc/ssl/jobs.example.com.pem": "jobs.example.com.pem",
        "/etc/ssl/jobs.example.com.key": "jobs.example.com.key",
        "http://127.0.0.1:8787": bridge,
    }
    return nginx(folder, NGINX + changed(block("nginx", "proxy_pass"), {**usual, **changes}) + "}")


def with_haproxy(folder: Path, port: int, bridge: str, changes: Mapping[str, str]) -> AbstractContextManager[None]:
    """Run HAProxy as the document prints it, apart from its addresses, its file and `changes`."""
    both = folder / "both.pem"
    both.write_text("".join((folder / f"jobs.example.com.{kind}").read_text() for kind in ("pem", "key")))
    usual = {
        "bind :443": f"bind 127.0.0.1:{port}",
        "/etc/ssl/jobs.example.com.pem": str(both),
        "127.0.0.1:8787": bridge.removeprefix("http://"),
    }
    return haproxy(folder, changed(block("haproxy", "forwardfor"), {**usual, **changes}))


NO_UPGRADE: Final = {"proxy_set_header Upgrade $http_upgrade;": ""}
BUFFERED: Final = {"proxy_http_version 1.1;": "proxy_http_version 1.1; proxy_ignore_headers X-Accel-Buffering;"}
DELETED: Final = {"option forwardfor": "option forwardfor\n  http-request del-header Upgrade"}


@pytest.mark.parametrize(
    ("run", "changes", "transport"),
    [
        pytest.param(with_nginx, {}, "websocket", id="nginx"),
        pytest.param(with_nginx, NO_UPGRADE, "sse", id="nginx without Upgrade"),
        pytest.param(with_nginx, {**NO_UPGRADE, **BUFFERED}, "polling", id="nginx that buffers"),
        pytest.param(with_haproxy, {}, "websocket", id="HAProxy"),
        pytest.param(with_haproxy, DELETED, "sse", id="HAProxy without Upgrade"),
    ],
)
async def test_a_page_follows_its_job_through_a_proxy(
    redis: Redis,
    chromium: Chromium,
    tmp_path: Path,
    run: Callable[..., AbstractContextManager[None]],
    changes: Mapping[str, str],
    transport: str,
) -> None:
    redis.make_queue("http")
    redis.add_job("http", "42", state="active")
    certify(tmp_path, "jobs.example.com")
    arguments = serve_arguments(block("sh", "--root-path"), tmp_path)
    with BridgeProcess(*arguments, "--port", "0", "--redis", redis.url) as bridge:
        url = await anyio.to_thread.run_sync(bridge.started)
        port = free_port()
        token = mint((tmp_path / "jobws.secret").read_text().strip(), job_scope("http", "42"))
        with run(tmp_path, port, url, changes):
            async with chromium.page(f"https://jobs.example.com:{port}/live/healthz") as page:
                assert await page.run(FOLLOW, token) == ["active", transport]
                redis.add_event("http", "progress", "42", data="50")
                await page.until(SEEN, [50])
                redis.add_event("http", "completed", "42", returnvalue="51")
                await page.until(SEEN, [50, 51])
                assert await page.run(OTHER_JOB) == "forbidden"
    if run is with_nginx:
        logged = "".join((tmp_path / name).read_text() for name in ("all.log", "error.log"))
        assert "GET /live/jobws.js" in logged
        assert token not in logged


@pytest.mark.parametrize("run", [with_nginx, with_haproxy])
async def test_a_proxy_names_the_client_and_keeps_host_and_path(
    chromium: Chromium, tmp_path: Path, run: Callable[..., AbstractContextManager[None]]
) -> None:
    certify(tmp_path, "jobs.example.com")
    port = free_port()
    with Pages(answer(b"")) as bridge, run(tmp_path, port, bridge.url, {}):
        async with chromium.page(f"https://jobs.example.com:{port}/live/queues"):
            head = bridge.asked[0].decode().lower().split("\r\n")
    assert head[0] == "get /live/queues http/1.1"
    assert f"host: jobs.example.com:{port}" in head
    assert "x-forwarded-for: 127.0.0.1" in head
