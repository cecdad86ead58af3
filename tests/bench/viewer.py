"""A browser that looks at a page, and notes when jobs are in sight and what the scripts of the page take."""

from __future__ import annotations

import gzip
import json
import shutil
from bisect import bisect_left
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from playwright.sync_api import sync_playwright

from tests.support.browser import ARGUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Response

# The DOM has changed, and the next frame shows it. `framed` has the time of this frame by the name of a job, in
# milliseconds since 1970. A change that is made in a frame counts with the frame after it.
_NOTE: Final = r"""
window.framed = {};
const seen = new Set();
new MutationObserver(() => {
  for (const [name] of (document.body?.textContent ?? '').matchAll(/add_\d+_\d+_/g)) {
    if (seen.has(name)) continue;
    seen.add(name);
    requestAnimationFrame(() => (window.framed[name] = Date.now()));
  }
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
_ROWS: Final = "() => Number(document.querySelector('.list [aria-setsize]')?.ariaSetSize ?? 0)"
_CATEGORIES: Final = ["devtools.timeline", "disabled-by-default-devtools.timeline", "v8.execute"]
# What the browser calls the work of scripts. `RunMicrotasks` is what follows a promise.
_SCRIPTS: Final = ("FunctionCall", "EvaluateScript", "RunMicrotasks")

# Statuses without a body, or with one that the browser does not keep, begin here.
_NO_BODY: Final = 300


class Task(NamedTuple):
    """A task of a page's main thread in which scripts of the page ran, in milliseconds.

    Attributes:
        cpu: The CPU time of the thread, which other processes do not lengthen.
        wall: The time until its end.
    """

    cpu: float
    wall: float


class Viewer:
    """A page in a browser.

    Attributes:
        page: Playwright's object.
    """

    def __init__(self, browser: Browser, page: Page) -> None:
        self.page = page
        self._browser = browser
        self._session = page.context.new_cdp_session(page)
        self._answers: list[Response] = []
        page.on("response", lambda answer: self._answers.append(answer))

    def note_frames(self) -> None:
        """Note from now on, in each page that is opened, when jobs of `adds.mjs` are in sight."""
        self.page.add_init_script(_NOTE)

    def open_another(self) -> None:
        """Show the same address to another viewer, with a profile of their own. Nothing is measured there."""
        self._browser.new_page().goto(self.page.url)

    def frames(self) -> dict[str, int]:
        """Return when each job was in sight, in milliseconds since 1970, by its name."""
        found: dict[str, int] = self.page.evaluate("() => window.framed")
        return found

    def packed_bytes(self) -> int:
        """Return how many bytes the bodies of all answers had if each text were compressed with gzip."""
        total = 0
        for answer in self._answers:
            body = answer.body() if answer.status < _NO_BODY else b""
            packed = len(gzip.compress(body, mtime=0))
            total += min(len(body), packed)
        return total

    def rows(self) -> int:
        """Return how many jobs the list of the page at `/` has."""
        return int(self.page.evaluate(_ROWS))

    def heap_bytes(self) -> int:
        """Return how large the JavaScript heap is after a collection of garbage."""
        for _ in range(2):  # what finalizers let go is collected the second time
            self._session.send("HeapProfiler.collectGarbage")
        return int(self._session.send("Runtime.getHeapUsage")["usedSize"])

    @contextmanager
    def traced(self) -> Iterator[list[Task]]:
        """Trace during the context. When it has ended, the list has all tasks in which scripts of the page ran."""
        found: list[Task] = []
        self._browser.start_tracing(page=self.page, categories=_CATEGORIES)
        yield found
        trace = json.loads(self._browser.stop_tracing())["traceEvents"]
        found += script_tasks(trace, self.page.url.split("#")[0])

    def wait(self, seconds: float) -> None:
        self.page.wait_for_timeout(seconds * 1000)


@contextmanager
def viewer() -> Iterator[Viewer]:
    """Run Chromium with an empty page, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            yield Viewer(browser, page)
        finally:
            browser.close()


def browser_version() -> str:
    """Return the name and version of the browser, such as `Chromium 156.0.8078.108`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=ARGUMENTS)
        version = browser.version
        browser.close()
    return f"Chromium {version}"


def _program() -> str | None:
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


def script_tasks(trace: list[dict[str, Any]], origin: str) -> list[Task]:
    """Return the tasks of a trace in which scripts ran, on threads that run scripts whose address begins with `origin`.

    A task includes what the browser does in it besides, such as the layout of a frame.
    """
    spans = [each for each in trace if each["ph"] == "X" and each["name"] in (*_SCRIPTS, "RunTask")]
    threads = {_thread(each) for each in spans if str(each["args"].get("data", {}).get("url", "")).startswith(origin)}
    found = []
    for thread in threads:
        here = [each for each in spans if _thread(each) == thread]
        begins = sorted(each["ts"] for each in here if each["name"] in _SCRIPTS)
        for task in here:
            if task["name"] != "RunTask":
                continue
            first = bisect_left(begins, task["ts"])
            if first < len(begins) and begins[first] <= task["ts"] + task["dur"]:
                found.append(Task(task["tdur"] / 1000, task["dur"] / 1000))
    return found


def _thread(span: dict[str, Any]) -> tuple[int, int]:
    return span["pid"], span["tid"]
