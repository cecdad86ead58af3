"""Every view in wide and narrow windows, light and dark."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tests.pictures.stage import stage
from tests.pictures.views import VIEWS, says, until
from tests.support.browser import ARGUMENTS
from tests.support.extension import FOLDER, ORIGIN, USE, WATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, Playwright

    from tests.pictures.demo import Demo
    from tests.pictures.stage import Stage

Scheme: TypeAlias = Literal["light", "dark"]
Look: TypeAlias = tuple[str, Scheme]
"""A size and a scheme."""
SIZES: Final = {"wide": (1440, 900), "phone": (390, 844)}
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
LOOKS: Final[Sequence[Look]] = [(size, scheme) for size in SIZES for scheme in SCHEMES]
_TALLEST: Final = 2400
_HEIGHT: Final = "() => Math.ceil(52 + (document.querySelector('main')?.scrollHeight ?? 0))"


def take(folder: Path, started: Demo, browser: Browser, part: str = "") -> None:
    """Write a picture of each view whose name contains `part` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in shown(started, browser, part=part):
        _whole(page)
        page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")
        print(name, flush=True)


def launch(playwright: Playwright) -> Browser:
    """Start the browser: the one without windows, if it is installed."""
    program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    return playwright.chromium.launch(executable_path=program, args=ARGUMENTS)


def shown(started: Demo, browser: Browser, looks: Sequence[Look] = LOOKS, part: str = "") -> Iterator[tuple[str, Page]]:
    """Yield the name of each view that contains `part`, and a page that shows it, once for each of the looks.

    The extension is shown light and dark, always.
    """
    with stage(started) as on:
        for size, scheme in looks:
            width, height = SIZES[size]
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                reduced_motion="reduce",
                locale="en-GB",
                timezone_id="UTC",
            )
            for name in (name for name in VIEWS if part in name):
                page = context.new_page()
                _open(page, on, name)
                yield f"{name}-{size}-{scheme}", page
                context.set_offline(False)
                page.close()
            context.close()
        if part in "extension":
            yield from _extension(on, browser.browser_type)


def _open(page: Page, on: Stage, name: str) -> None:
    address, *steps = VIEWS[name]
    page.goto(on.address(address))
    for step in steps:
        if isinstance(step, str):
            until(page, step)
        else:
            step(page, on)


def _whole(page: Page) -> None:
    """Let the window be as high as what it shows."""
    size = page.viewport_size
    assert size is not None
    height = min(page.evaluate(_HEIGHT), _TALLEST)
    if height > size["height"]:
        page.set_viewport_size({**size, "height": height})


@contextmanager
def extension_browser(chromium: BrowserType) -> Iterator[BrowserContext]:
    """Run a whole browser with the extension, which a headless shell does not have."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        context = chromium.launch_persistent_context(
            profile,
            executable_path=shutil.which("chromium"),
            args=[*ARGUMENTS, "--enable-unsafe-extension-debugging"],
            ignore_default_args=["--disable-extensions"],
            viewport={"width": 380, "height": 400},
            color_scheme="light",
            locale="en-GB",
            timezone_id="UTC",
        )
        try:
            assert context.browser is not None
            context.browser.new_browser_cdp_session().send("Extensions.loadUnpacked", {"path": str(FOLDER)})
            yield context
        finally:
            context.close()


def _extension(on: Stage, chromium: BrowserType) -> Iterator[tuple[str, Page]]:
    """Yield the popup and the options, without anything and with it."""
    with extension_browser(chromium) as context:
        page = context.new_page()

        def each(name: str, path: str, expression: str, *sizes: str) -> Iterator[tuple[str, Page]]:
            for size in sizes:
                for scheme in SCHEMES:
                    width, height = SIZES.get(size, (380, 560))
                    page.set_viewport_size({"width": width, "height": height})
                    page.emulate_media(color_scheme=scheme)
                    page.goto(f"{ORIGIN}/{path}.html")
                    until(page, expression)
                    yield f"extension-{name}-{size}-{scheme}", page

        yield from each("popup-new", "popup", says("#problem", "Which bridge"), "popup")
        yield from each("options-new", "options", says("#flag", "--allow-origin"), *SIZES)
        page.evaluate(USE, [on.urls["open"], ""])
        yield from each("popup-none", "popup", says("#empty", "No job is watched."), "popup")
        for job in (*on.jobs.values(), "mails/to-come"):
            queue, job_id = job.split("/")
            page.evaluate(WATCH, {"queue": queue, "jobId": job_id})
        states = ("waiting", "delayed", "active", "failed", "completed", "not there yet")
        there = " && ".join(says("li .state", state) for state in states)
        yield from each("popup-jobs", "popup", there, "popup")
        page.evaluate(USE, [on.urls["keyed"], ""])
        yield from each("popup-token", "popup", says("#connection", "token"), "popup")
        for url, answer in ((on.urls["open"], "The bridge answers"), ("http://127.0.0.1:9", "No bridge answers")):
            for size in SIZES:
                for name, shown in each(f"options-{answer.split()[0].lower()}", "options", "true", size):
                    page.fill("#url", url)
                    page.click("form button")
                    until(page, says("#answer", answer))
                    yield name, shown
