"""Chromium with the browser extension, and what tests do to the extension and its service worker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import anyio

from tests.support import EVENTUALLY_SECONDS, require
from tests.support.browser import ARGUMENTS, Chromium, Page
from tests.support.extension import FOLDER, FORGET, ORIGIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class ExtensionPage(Page):
    """A page of the extension. Its content security policy stops the way in which Playwright waits."""

    async def until(self, script: str, argument: object = None) -> None:
        """Wait until a JavaScript expression is true. Fail after 60 s."""
        with anyio.fail_after(EVENTUALLY_SECONDS):
            while not await self.run(script, argument):
                await anyio.sleep(0.02)


class ExtensionBrowser(Chromium):
    """The browser with the extension, as a context manager.

    Extensions need the whole browser, which `chromium-headless-shell` is not.

    Args:
        profile: The folder of the profile, for a browser that is started again; None: an empty one.
    """

    def __init__(self, profile: Path | None = None) -> None:
        super().__init__()
        self._profile = profile

    def __enter__(self) -> Self:
        program = require("chromium")
        profile = self._profile or self._stack.enter_context(TemporaryDirectory(ignore_cleanup_errors=True))
        self._start_playwright()
        launch = partial(
            self._playwright.chromium.launch_persistent_context,
            profile,
            executable_path=program,
            args=[*ARGUMENTS, "--enable-unsafe-extension-debugging"],
            ignore_default_args=["--disable-extensions"],
        )
        self._context = self._portal.call(launch)
        self._stack.callback(partial(self._portal.call, self._context.close))
        assert self._context.browser is not None
        self._devtools = self._portal.call(self._context.browser.new_browser_cdp_session)
        loaded = self._portal.call(self._devtools.send, "Extensions.loadUnpacked", {"path": str(FOLDER)})
        assert loaded == {"id": ORIGIN.removeprefix("chrome-extension://")}
        return self

    def reset(self) -> None:
        """Let the extension forget everything."""
        self._portal.call(self._reset)

    async def _reset(self) -> None:
        page = await self._context.new_page()
        await page.goto(f"{ORIGIN}/options.html")
        await page.evaluate(FORGET)
        await page.close()

    @asynccontextmanager
    async def page(self, url: str) -> AsyncIterator[ExtensionPage]:
        """Yield a page that has loaded `url`: a path is one of the extension's own."""
        page = ExtensionPage(self, self._context, await self.run(self._context.new_page))
        try:
            await self.run(page.tab.goto, f"{ORIGIN}{url}" if url.startswith("/") else url)
            yield page
            assert page.errors == []
        finally:
            with anyio.CancelScope(shield=True):
                await self.run(page.tab.close)

    async def stop_worker(self, page: ExtensionPage) -> None:
        """Stop the service worker, as the browser does with one that is idle, and wait until it is gone."""
        session = await self.run(self._context.new_cdp_session, page.tab)
        for command in ("ServiceWorker.enable", "ServiceWorker.stopAllWorkers"):
            await self.run(session.send, command)
        while await self.worker_runs():
            await anyio.sleep(0.01)

    async def worker_runs(self) -> bool:
        """Whether the service worker runs."""
        told: dict[str, Any] = await self.run(self._devtools.send, "Target.getTargets")
        return any(each["type"] == "service_worker" for each in told["targetInfos"])

    async def in_worker(self, script: str) -> None:
        """Call a JavaScript function in the service worker, which must run."""
        (worker,) = self._context.service_workers
        await self.run(worker.evaluate, script)
