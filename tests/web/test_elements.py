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
NO_TOKEN: Final = (
    "This bridge needs a token: set JobwsElement.token, or for another bridge than JobwsElement.url the property token "
    "of this element."
)
SHOWN: Final = "[...document.querySelectorAll('jobws-job')].map((each) => each.state).join()"
STATES: Final = f"(states) => {SHOWN} === states"
FOREIGN: Final = "http://127.0.0.1:1"
# Notes with what each WebSocket is opened. The policy of the page refuses the foreign ones, which is no failure here.
NOTE_SOCKETS: Final = """
refused.push = () => {};
window.opened = [];
window.WebSocket = class extends WebSocket {
  constructor(url, protocols) {
    opened.push([url, ...protocols]);
    super(url, protocols);
  }
};
"""
COMMON: Final = "(token) => customElements.whenDefined('jobws-job').then((all) => (all.token = () => token))"
OPENED: Final = "([url, ...protocols]) => opened.some((each) => each[0] === url && each[2] === protocols[0])"


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
        await page.run(COMMON, own)
        await page.until(STATES, "active,refused")
        assert await page.run("part('reason')") is None
        await page.run("(token) => { document.querySelector('[job=\"43\"]').token = token; }", other)
        await page.until(STATES, "active,active")
        assert own not in await page.run("document.querySelector('[job=\"43\"]').outerHTML")
        await eventually(lambda: len(live.bridge.clients.connected) == 2)


async def test_the_common_token_goes_to_the_common_bridge_only(redis: Redis, chromium: Chromium) -> None:
    """Markup may name any bridge, and it may come from people who must not get the token."""
    redis.add_job("http", "42", state="active")
    token = jwt(job_scope("http", "42"))
    async with host_page(chromium, redis.url, "", serve=keyed_bridge, script=NOTE_SOCKETS) as (live, page):
        await page.run(COMMON, token)
        urls = (FOREIGN, f"{live.url}/elsewhere", f"{live.url}/", live.url.replace("http", "HTTP"))
        elements = [JOB.replace("jobws-job ", f'jobws-job url="{url}" ') for url in urls]
        await page.run("(body) => { document.body.innerHTML = body; }", "".join(elements))
        await page.until(f"() => {SHOWN}.endsWith(',active,active')")
        given = "[...document.querySelectorAll('jobws-job')].map((each) => each.token?.())"
        assert await page.run(given) == [None, None, token, token]
        socket = live.url.replace("http", "ws")
        foreign = "ws://127.0.0.1:1/ws"
        for url in (foreign, f"{socket}/elsewhere/ws"):
            await page.until(OPENED, [url])
        opened = await page.run("opened")
        assert {url for url, *protocols in opened if f"bearer.{token}" in protocols} == {f"{socket}/ws"}
        await page.run("document.querySelector('jobws-job').token = 'its-own'")
        await page.until(OPENED, [foreign, "bearer.its-own"])


async def test_the_same_function_may_get_a_token_after_a_refusal(redis: Redis, chromium: Chromium) -> None:
    redis.add_job("http", "42", state="active")
    script = "window.given = 'nonsense'; window.getToken = () => given;"
    async with host_page(chromium, redis.url, JOB, serve=keyed_bridge, script=script) as (_, page):
        again = "customElements.whenDefined('jobws-job').then((all) => { all.token = getToken; })"
        await page.run(again)
        reason = "the bridge refuses this client: 4500 the token is not accepted; the bridge's log says why"
        await until_part(page, "reason", reason)
        await page.run("(token) => { given = token; }", jwt(job_scope("http", "42")))
        await page.run(again)
        await page.until(STATES, "active")


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
