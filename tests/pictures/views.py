"""Every view of the page, of the elements and of the extension: where it is, and when all of it is there."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from tests.pictures.stage import WAITING
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.pictures.stage import Stage

    Step = Callable[[Page, Stage], None]

_PATIENCE_SECONDS: Final = 60
_POLL_MILLISECONDS: Final = 30
_HOST: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Jobs</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<script type="module" src="{open}/elements.js"></script>
<style>
  body {{ font: 16px/1.5 Georgia, serif; margin: 24px auto; max-width: 760px; padding: 0 16px }}
  main {{ display: grid; gap: 16px }}
  h1 {{ font-size: 22px; margin: 0 }}
</style>
<main><h1>A page of your own</h1>
<jobws-queue queue="mails"></jobws-queue><jobws-queue queue="techstack"></jobws-queue>
{jobs}<jobws-job queue="http" job="to-come"></jobws-job><jobws-logs></jobws-logs></main>"""
_HOSTED: Final = ("waiting", "delayed", "active", "failed", "large")


def host(on: Stage) -> bytes:
    """Return a page of somebody else, with an element for each kind of job."""
    places = [on.jobs[name].split("/") for name in _HOSTED]
    jobs = "".join(f'<jobws-job queue="{queue}" job="{job_id}"></jobws-job>' for queue, job_id in places)
    return _HOST.format(open=on.urls["open"], jobs=jobs).encode()


def until(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression is true. The policies of pages stop the way in which Playwright waits."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not page.evaluate(f"() => !!({expression})"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{page.url}: {expression}")
        page.wait_for_timeout(_POLL_MILLISECONDS)


def says(where: str, text: str) -> str:
    """Return the expression that an element has a text, in which white space counts as one space."""
    return f"""[...document.querySelectorAll({json.dumps(where)})].some((each) =>
        each.innerText.replace(/\\s+/g, ' ').includes({json.dumps(text)}))"""


def clicked(where: str, then: str) -> Step:
    """Return the step that clicks an element, and waits for what comes of it."""

    def step(page: Page, _: Stage) -> None:
        page.click(where)
        until(page, then)

    return step


def typed(keys: str, text: str, then: str) -> Step:
    """Return the step that presses keys, types a text, and waits for what comes of it."""

    def step(page: Page, _: Stage) -> None:
        page.keyboard.press(keys)
        page.keyboard.type(text)
        until(page, then)

    return step


def filled(where: str, text: str, then: str) -> Step:
    """Return the step that fills in a field, and waits for what comes of it."""

    def step(page: Page, _: Stage) -> None:
        page.fill(where, text)
        until(page, then)

    return step


def token(scope: str, then: str, *, wrong: bool = False) -> Step:
    """Return the step that gives a token, or a wrong one."""

    def step(page: Page, _: Stage) -> None:
        until(page, "document.querySelector('dialog.token').open")
        page.fill("dialog.token input", "wrong" if wrong else jwt(scope, sub="ann@example.com"))
        page.click("dialog.token .primary")
        until(page, then)

    return step


def _new_jobs(page: Page, on: Stage) -> None:
    page.evaluate("() => (document.querySelector('.list').scrollTop = 2000)")
    for _ in range(3):
        on.add(WAITING, {"to": "new@example.com"}, name="monthly letter")
    until(page, says(".news", "3 new jobs"))


def _removed(page: Page, on: Stage) -> None:
    job = on.add(WAITING, {"to": "nobody@example.com"}, name="a letter to nobody")
    page.goto(on.address("{open}/#/jobs/") + job)
    until(page, says(".jobhead .chip", "waiting"))
    page.click(".actions .danger")
    page.click("dialog[open] button[value=yes]")
    until(page, says(".told", "This job was removed."))
    until(page, says(".notice", "The job was removed."))


def _over_http(page: Page, on: Stage) -> None:
    page.add_init_script("delete window.WebSocket")
    page.goto(on.address("{open}/#/jobs/{large}"))
    until(page, says(".status .pill", "Over HTTP"))
    clicked(".status .pill", says(".why", "No WebSocket gets through"))(page, on)


def _reconnecting(page: Page, on: Stage) -> None:
    def pass_on(socket: object) -> None:
        socket.connect_to_server()  # type: ignore[attr-defined]
        sockets.append(socket)

    sockets: list[object] = []
    page.route_web_socket("**", pass_on)
    page.goto(on.address("{open}/#/jobs/{large}"))
    until(page, says(".status .pill", "Live"))
    page.context.set_offline(True)
    sockets[0].close()  # type: ignore[attr-defined]
    until(page, says(".status .pill", "Reconnecting"))


def _no_bridge(page: Page, on: Stage) -> None:
    page.route("**/whoami", lambda route: route.abort())
    page.goto(on.address("{open}/"))
    until(page, says(".status .pill", "No bridge"))


def _gap(page: Page, on: Stage) -> None:
    until(page, says(".status .pill", "Live"))
    on.redis.delete(f"bull:{WAITING}:events")
    on.add(WAITING, {}, name="monthly letter")
    until(page, says(".status .gap", "Gap"))
    clicked(".status .gap", says(".why", "Events of mails are missing"))(page, on)


def _ended(page: Page, on: Stage) -> None:
    on.authorizer.allowed = None
    page.goto(on.address("{asking}/#/queues/http"))
    token("", says(".job .title", "port"))(page, on)
    on.authorizer.allowed = ("read:queues http",)
    until(page, says(".status .pill", "Not live"))


def _elements(page: Page, on: Stage) -> None:
    on.pages["page.html"] = host(on)
    page.goto(on.address("{host}/page.html"))
    until(
        page,
        """['waiting', 'delayed', 'active', 'failed', 'completed', 'missing'].every((state) =>
            [...document.querySelectorAll('jobws-job')].some((each) => each.state === state))
            && [...document.querySelectorAll('jobws-queue')].every(({ stats }) => stats)
            && document.querySelector('jobws-logs').shadowRoot.querySelector('.lines time')""",
    )


# Those in sight have what was before the page was opened, which it asks for later.
_LINES: Final = """[...document.querySelectorAll('.spark .line.done')].slice(0, 3)
    .every((each) => each.getBBox().width > 100)"""
_PALETTE: Final = "document.querySelectorAll('.palette li').length > 4"
_ROWS: Final = "document.querySelectorAll('.list .job').length > 3"
VIEWS: Final[dict[str, tuple[str, *tuple[str | Step, ...]]]] = {
    "queues": ("{open}/", says(".row .name", "mails no worker"), says(".row .name", "techstack"), _LINES),
    "queues-none": ("{empty}/", says(".empty", "There is no queue yet.")),
    "jobs": ("{open}/#/queues/techstack", _ROWS),
    "jobs-active": ("{open}/#/queues/renders", says(".job .progress", "62 %"), says(".job .title", "lighthouse")),
    "jobs-many": ("{open}/#/queues/mails", _ROWS, _new_jobs),
    "jobs-filtered": ("{open}/#/queues/mails?state=delayed", says(".job .title", "reminder")),
    "jobs-none": ("{open}/#/queues/mails?q=nothing", says(".empty", "No job here that fits.")),
    "job-waiting": ("{open}/#/jobs/{waiting}", says(".jobhead .chip", "waiting")),
    "job-delayed": ("{open}/#/jobs/{delayed}", says(".jobhead .chip", "delayed")),
    "job-active": ("{open}/#/jobs/{active}", says(".going", "62 %"), says(".log .lines", "frame 030")),
    "job-completed": (
        "{open}/#/jobs/{large}",
        says(".tree", "issues"),
        clicked(".tree details:not([open]) summary", says(".tree", "test_id")),
    ),
    "job-failed": ("{open}/#/jobs/{failed}", says(".failure .reason", "127.0.0.1"), says(".trace", "Error")),
    "job-removed": ("about:blank", _removed),
    "job-unknown": ("{open}/#/jobs/mails/to-come", says(".jobhead .chip", "unknown")),
    "queue-unknown": ("{one}/#/queues/nowhere", says(".empty", "This bridge has no queue of this name.")),
    "queue-unknown-yet": ("{open}/#/queues/nowhere", says(".empty", "It appears here as soon as it has a job.")),
    "queue-unknown-submit": ("{one}/#/queues/nowhere/submit", says(".empty", "This bridge has no queue")),
    "queue-unknown-job": ("{one}/#/jobs/nowhere/1", says(".told", "This bridge has no queue of this name.")),
    "job-flow": (
        "{open}/#/jobs/{flow}",
        says(".flow", "audit demo"),
        "document.querySelectorAll('.flow [data-state=completed]').length === 3",
    ),
    "failed": (
        "{open}/#/queues/http/failed",
        says(".group .reason", "127.0.0.1"),
        clicked(".group summary", says(".group[open] li", "a port without a server")),
    ),
    "failed-none": ("{open}/#/queues/mails/failed", says(".empty", "No job of this queue has failed.")),
    "logs": (
        "{open}/#/logs",
        "document.querySelector('jobws-logs')?.shadowRoot.querySelectorAll('.lines time').length > 30",
    ),
    "logs-none": ("{empty}/#/logs", "document.querySelector('jobws-logs')?.shadowRoot.querySelector('.log')"),
    "submit": ("{open}/#/queues/techstack/submit", "document.querySelector('textarea')?.value.includes('path')"),
    "submit-wrong": (
        "{open}/#/queues/mails/submit",
        filled("textarea", '{"to": ', "document.querySelector('.submit .primary').disabled"),
    ),
    "go-to": ("{open}/", says(".row .name", "mails"), typed("Control+k", "", _PALETTE)),
    "go-to-job": ("{open}/", says(".row .name", "mails"), typed("Control+k", "tech", says(".palette li", "techstack"))),
    "question-remove": (
        "{open}/#/jobs/{waiting}",
        says(".jobhead .chip", "waiting"),
        clicked(".actions .danger", says("dialog[open]", "Remove “monthly letter” of mails?")),
    ),
    "question-pause": (
        "{open}/#/queues/mails",
        says(".queuehead button", "Pause"),
        clicked(".queuehead button", says("dialog[open]", "Pause mails?")),
    ),
    "rights": ("{open}/", says(".row .name", "mails"), clicked("[aria-label='Your rights']", says("dialog.who", "No"))),
    "rights-token": (
        "{keyed}/",
        token("read:queues:* read:jobs:mails write:jobs:techstack", says(".row .name", "mails")),
        clicked("[aria-label='Your rights']", says("dialog.who", "ann@example.com")),
    ),
    "token": ("{keyed}/", "document.querySelector('dialog.token')?.open"),
    "token-refused": ("{keyed}/", token("", says("dialog.token .problem", "not accepted"), wrong=True)),
    "right-missing-queues": ("{keyed}/", token("read:jobs:mails", says(".missing", "read:queues"))),
    "right-missing-jobs": ("{keyed}/#/queues/http", token("read:queues:*", says(".missing", "read:jobs:http"))),
    "right-missing-job": ("{keyed}/#/jobs/http/1", token("read:queues:*", says(".missing", "read:jobs:http/1"))),
    "right-missing-logs": ("{keyed}/#/logs", token("read:queues:*", says(".missing", "read:logs"))),
    "right-missing-submit": (
        "{keyed}/#/queues/http/submit",
        token("read:queues:*", says(".missing", "write:jobs:http")),
    ),
    "job-alone": (
        "{keyed}/",
        lambda page, on: token(f"read:jobs:{on.jobs['large']}", says(".tree", "issues"))(page, on),
    ),
    "over-http": ("about:blank", _over_http),
    "reconnecting": ("about:blank", _reconnecting),
    "no-bridge": ("about:blank", _no_bridge),
    "gap": ("{open}/#/queues/mails", _ROWS, _gap),
    "not-live": ("about:blank", _ended),
    "elements": ("about:blank", _elements),
}
"""The views of the page and of the elements, by their names: the address, with names of `Stage` in braces; then what is
waited for, and what is done, one after the other.
"""
