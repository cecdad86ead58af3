"""Pictures of the page, each taken when it shows what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from tests.pictures.files import save

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.pictures.demo import Demo

WIDE: Final = 1440
PHONE: Final = 390
# The lines of the queues show this time. Events cannot be of the past, so the script works for so long.
HISTORY_SECONDS: Final = 600
# Its panels are there, by how their headings begin, and the names and states of the jobs below it, which come later.
_ALL_OF_A_JOB: Final = """['Timeline', 'Flow', 'Result', 'Data'].every((heading) =>
    [...document.querySelectorAll('section:not([hidden]) h2')].some((each) => each.textContent.startsWith(heading)))
    && ['scan server', 'scan web', 'audit demo'].every((name) => document.body.innerText.includes(name))
    && document.querySelectorAll('.flow [data-state=completed]').length === 3"""
# A job runs, and the lines have what was before this page was opened, which it asks for later.
_ALL_OF_THE_QUEUES: Final = """[...document.querySelectorAll('main [role=row]')].some((each) =>
    /analyzer\\s+\\d+\\s+1\\s/.test(each.innerText))
    && [...document.querySelectorAll('.spark .line.done')].every((each) => each.getBBox().width > 100)"""


class Shot(NamedTuple):
    """A picture to take.

    Attributes:
        name: The name of the file, without its ending.
        url: The address.
        height: The height of the window.
        until: A JavaScript expression that is true when there is all to see.
        width: The width of the window.
        scheme: Light or dark.
    """

    name: str
    url: str
    height: int
    until: str
    width: int = WIDE
    scheme: Literal["light", "dark"] = "light"


def take(started: Demo, browser: Browser) -> None:
    """Take the pictures of the page: the queues, the jobs of one, and a job with all that is below it."""
    started.work()
    job = f"{started.url}/#/jobs/sparql/{started.flow()}"
    queue = f"{started.url}/#/queues/techstack"
    shoot(browser, Shot("job-light", job, 960, _ALL_OF_A_JOB))
    shoot(browser, Shot("job-dark", job, 960, _ALL_OF_A_JOB, scheme="dark"))
    shoot(browser, Shot("job-phone", job, 844, _ALL_OF_A_JOB, width=PHONE))
    started.work()
    shoot(browser, Shot("jobs", queue, 760, "document.querySelectorAll('.list .job').length >= 11"))
    started.work_for(HISTORY_SECONDS)
    started.jobs.submit("analyzer", {"path": "."}, name="scan all")
    shoot(browser, Shot("queues", f"{started.url}/#/", 420, _ALL_OF_THE_QUEUES))


def shoot(browser: Browser, shot: Shot) -> None:
    """Take one picture in a window of its own."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    try:
        page = context.new_page()
        page.goto(shot.url)
        keep(page, shot.name, shot.until)
    finally:
        context.close()


def keep(page: Page, name: str, until: str) -> None:
    """Write what a page shows, once a JavaScript expression is true."""
    page.wait_for_function(f"() => ({until})")
    save(name, page.screenshot(animations="disabled", caret="hide"))
