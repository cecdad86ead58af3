"""What all elements have in common: the connections that they share, tokens, and where they may be imported."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from jobws.tokens import job_scope
from tests.support import eventually, require
from tests.support.elements import host_page, until_part
from tests.support.page_server import ADAPTER
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.browser import Chromium
    from tests.support.redis import Redis

JOB: Final = '<jobws-job queue="http" job="42"></jobws-job>'
NO_TOKEN: Final = "This bridge needs a token: set JobwsElement.token, or the property token of this element."
SHOWN: Final = "[...document.querySelectorAll('jobws-job')].map((each) => each.state).join()"
STATES: Final = f"(states) => {SHOWN} === states"


async def test_elements_share_a_connection_and_the_subscription_to_a_job(redis: Redis, chromium: Chromium) -> None:
    for job_id in ("42", "43"):
        redis.add_job("http", job_id, state="active")
    body = JOB * 2 + JOB.replace("42", "43")
    async with host_page(chromium, redis.url, body) as (live, page):
        await page.until(STATES, "active,active,active")
        assert len(live.bridge.clients.connected) == 1
        assert len(live.bridge.fanout.rooms.of_job("http", "42")) == 1
        await page.run(f"document.body.insertAdjacentHTML('beforeend', '{JOB}')")
        await page.until(STATES, "active,active,active,active")
        assert len(live.bridge.fanout.rooms.of_job("http", "42")) == 1
        await page.run("document.querySelectorAll('[job=\"42\"]').forEach((each) => each.remove())")
        await eventually(lambda: not live.bridge.fanout.rooms.of_job("http", "42"))
        assert len(live.bridge.clients.connected) == 1
        await page.run("document.querySelector('jobws-job').remove()")
        await eventually(lambda: not live.bridge.clients.connected)


async def test_an_element_that_is_moved_keeps_its_connection(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    async with host_page(chromium, redis.url, f"<main></main>{JOB}") as (live, page):
        await page.until(STATES, "active")
        before = set(live.bridge.clients.connected)
        await page.run("document.querySelector('main').append(document.querySelector('jobws-job'))")
        await page.until("document.querySelector('main > jobws-job').state === 'active'")
        assert set(live.bridge.clients.connected) == before


async def test_a_token_is_a_property_and_never_an_attribute(redis: Redis, chromium: Chromium) -> None:
    for job_id in ("42", "43"):
        redis.add_job("http", job_id, state="active")
    own, other = jwt(job_scope("http", "42")), jwt(job_scope("http", "43"))
    body = f'{JOB.replace("jobws-job ", f"""jobws-job token="{own}" """)}{JOB.replace("42", "43")}'
    async with host_page(chromium, redis.url, body, serve=keyed_bridge) as (live, page):
        await page.until(STATES, "refused,refused")
        await until_part(page, "reason", NO_TOKEN)
        await page.run(
            "(token) => customElements.whenDefined('jobws-job').then((all) => (all.token = () => token))", own
        )
        await page.until(STATES, "active,refused")
        assert await page.run("part('reason')") is None
        await page.run("(token) => { document.querySelector('[job=\"43\"]').token = token; }", other)
        await page.until(STATES, "active,active")
        assert own not in await page.run("document.querySelector('[job=\"43\"]').outerHTML")
        await eventually(lambda: len(live.bridge.clients.connected) == 2)


async def test_properties_that_were_set_before_the_definition_count(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    async with host_page(chromium, redis.url, "") as (_, page):
        await page.run(
            "document.body.append(Object.assign(document.createElement('jobws-job'), { job: 42, queue: 'http' }))"
        )
        await until_part(page, "state", "active")


async def test_it_says_that_only_http_gets_through(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    async with host_page(chromium, redis.url, JOB, script="delete window.WebSocket;") as (_, page):
        await until_part(page, "state", "active")
        await until_part(page, "connection", "over HTTP")
        redis.add_event("http", "completed", "42", returnvalue="7")
        await until_part(page, "result", "7")


async def test_it_says_why_there_is_no_connection(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    elsewhere = JOB.replace("jobws-job ", 'jobws-job url="http://127.0.0.1:1" ')
    async with host_page(chromium, redis.url, "") as (_, page):
        # The policy of the page would refuse another bridge, and the browser then says so.
        await page.run("(body) => { refused.push = () => {}; document.body.innerHTML = body; }", elsewhere)
        await until_part(page, "connection", "reconnecting …")
        title = "document.querySelector('jobws-job').shadowRoot.querySelector('[part=connection]').title"
        await page.until(f"() => {title}.startsWith('no jobws bridge at http://127.0.0.1:1: is it running there')")


def test_servers_that_render_pages_may_import_it() -> None:
    node = require("node")
    program = f"import {{ JobwsElement }} from '{ADAPTER.with_name('elements.js')}'; JobwsElement.token = 't';"
    subprocess.run([node, "--input-type=module", "-e", program], check=True, timeout=60)
