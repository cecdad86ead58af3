"""examples/own-jobs: an app, a bridge and nginx with TLS, started as the example says, and its page in Chromium."""

from __future__ import annotations

import json
import runpy
from contextlib import ExitStack, chdir
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import pytest

from jobws.embedded import free_port
from tests.support import eventually
from tests.support.bridge import BridgeProcess
from tests.support.documents import ROOT
from tests.support.mounted import served
from tests.support.printed import serve_arguments
from tests.support.proxies import changed, nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.browser import Chromium, Page
    from tests.support.redis import Redis

EXAMPLE: Final = ROOT / "examples" / "own-jobs"
SHOWN: Final = "(texts) => [...document.querySelectorAll('li')].map((each) => each.textContent).join() === texts.join()"
FILL: Final = """([form, value]) => {
  document.forms[form].elements[0].value = value;
  document.forms[form].requestSubmit();
}"""
# What a page gets that watches a job with the token of another job. It asks over the WebSocket, and over HTTP.
WATCH_WITH_THE_TOKEN_OF: Final = """async ([own, other]) => {
  const { io } = await import('/live/jobws.js');
  const token = await (await fetch(`/reports/${own}/token`)).json();
  const jobs = io('/live', { token });
  const failed = await jobs.wait(other, { queue: 'reports', timeout: 10_000 }).catch((error) => error);
  const headers = { authorization: `Bearer ${token}` };
  const statuses = [];
  for (const id of [own, other]) statuses.push((await fetch(`/live/jobs/reports/${id}`, { headers })).status);
  const transport = jobs.transport;
  jobs.disconnect();
  return [failed.code, transport, ...statuses];
}"""


@pytest.fixture
def example(redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start what the first lines of app.py say, with other ports. Yield the port of nginx."""
    monkeypatch.setenv("REDIS_URL", redis.url)
    arguments = serve_arguments((EXAMPLE / "app.py").read_text("utf-8"), tmp_path)
    port = free_port()
    with ExitStack() as stack:
        bridge = stack.enter_context(BridgeProcess(*arguments, "--port", "0", "--redis", redis.url))
        with chdir(tmp_path):
            app = runpy.run_path(str(EXAMPLE / "app.py"))["app"]
        ports = {
            "http://127.0.0.1:8787": bridge.started(),
            "http://127.0.0.1:8000": stack.enter_context(served(app)),
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        }
        stack.enter_context(nginx(tmp_path, changed((EXAMPLE / "nginx.conf").read_text("utf-8"), ports)))
        yield f"https://app.example.com:{port}"


async def start_a_report(page: Page, redis: Redis, city: str) -> str:
    """Start a report on the page, as a user who has signed in. Return the id of its job when the page watches it."""
    await page.run(FILL, ["start", city])
    take = partial(redis.client.brpoplpush, "bull:reports:wait", "bull:reports:active", 60)
    job_id: Any = await anyio.to_thread.run_sync(take)
    data: Any = redis.client.hget(f"bull:reports:{job_id.decode()}", "data")
    assert json.loads(data) == {"city": city}
    await eventually(lambda: any('"ack"' in str(text) for text in page.received))
    return str(job_id.decode())


async def test_users_watch_their_own_jobs_through_nginx_with_tls(
    redis: Redis, chromium: Chromium, example: str
) -> None:
    async with chromium.page(example) as ann, chromium.page(example) as bob:
        for page, name in ((ann, "ann"), (bob, "bob")):
            await page.run(FILL, ["sign-in", name])
            await page.until("() => !document.forms.start.hidden")
        berlin, lima = await start_a_report(ann, redis, "Berlin"), await start_a_report(bob, redis, "Lima")
        for number, (page, job_id, city) in enumerate(((ann, berlin, "Berlin"), (bob, lima, "Lima"))):
            redis.add_event("reports", "progress", job_id, data=str(number))
            await page.until(SHOWN, [f"{city}: {number} %"])
        assert await bob.run(WATCH_WITH_THE_TOKEN_OF, [lima, berlin]) == ["forbidden", "websocket", 200, 403]
        assert await bob.run("(id) => fetch(`/reports/${id}/token`).then(({ status }) => status)", berlin) == 404

        redis.add_event("reports", "completed", berlin, returnvalue='{"text":"rain"}')
        redis.add_event("reports", "failed", lima, failedReason="no such city")
        await ann.until(SHOWN, ["Berlin: rain"])
        await bob.until(SHOWN, ["Lima: failed: no such city"])
