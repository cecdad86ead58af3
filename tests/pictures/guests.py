"""Pictures of what lives outside of the bridge's page: the elements in a page of somebody else, and the extension."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.pictures.bridges import allowing, bridge
from tests.pictures.every import extension_browser
from tests.pictures.stills import Shot, keep, shoot
from tests.pictures.views import until
from tests.support.extension import ORIGIN, USE, WATCH
from tests.support.page_server import PageServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

    from tests.pictures.demo import Demo

_PAGE: Final = """<!doctype html><meta name="viewport" content="width=device-width">
<script type="module" src="{url}/elements.js"></script>
<style>
  body {{ font: 16px/1.5 Georgia, serif; margin: 24px; color: #222; background: #fbfaf7; display: grid; gap: 16px }}
  h1 {{ font-size: 22px; margin: 0 }}
</style>
<h1>A page of your own</h1>
<jobws-queue queue="techstack"></jobws-queue>
<jobws-job queue="techstack" job="{job_id}"></jobws-job>"""
# Their connections are live: only then the elements say nothing of them.
_ELEMENTS_ARE_THERE: Final = """document.querySelector('jobws-job').state === 'completed'
    && document.querySelector('jobws-queue').stats
    && [...document.querySelectorAll('jobws-job, jobws-queue')]
        .every(({ shadowRoot }) => shadowRoot.querySelector('[part~=connection]').hidden)"""
_POPUP_IS_THERE: Final = """['active', 'completed', 'failed'].every((state) =>
    [...document.querySelectorAll('li .state')].some((each) => each.textContent === state))"""


def take(started: Demo, browser: Browser) -> None:
    """Take the pictures of the elements and the extension."""
    upload = started.jobs.submit("techstack", {"path": "web"}, name="your upload", job_id="upload-17")
    started.jobs.wait(upload.job_id, "techstack")
    pages: dict[str, bytes] = {}
    with PageServer(pages.get) as server, bridge(started.redis_url, *allowing(server.origin, ORIGIN)) as url:
        pages["page.html"] = _PAGE.format(url=url, job_id=upload.job_id).encode()
        shoot(browser, Shot("elements", f"{server.origin}/page.html", 600, _ELEMENTS_ARE_THERE, width=720))
        _extension(started, browser.browser_type, url, upload.job_id)


def _extension(started: Demo, chromium: BrowserType, url: str, upload: str) -> None:
    """Watch three jobs in the extension, and take its popup. It needs the whole browser."""
    missing = started.jobs.submit("techstack", {"path": "sever"}, name="a typo", job_id="upload-18").job_id
    going = started.jobs.submit("analyzer", {"path": "."}, name="scan all", job_id="scan-4").job_id
    with extension_browser(chromium) as context:
        page = context.new_page()
        page.goto(f"{ORIGIN}/options.html")
        page.evaluate(USE, [url, ""])
        for queue, job_id in (("techstack", missing), ("techstack", upload), ("analyzer", going)):
            page.evaluate(WATCH, {"queue": queue, "jobId": job_id})
        page.goto(f"{ORIGIN}/popup.html")
        until(page, _POPUP_IS_THERE)
        keep(page, "extension", "true")
