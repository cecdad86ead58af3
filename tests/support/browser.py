"""Chromium without a window. Playwright needs asyncio and the tests run on trio, so it has a thread of its own."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import anyio.to_thread
from anyio.from_thread import start_blocking_portal
from playwright.async_api import async_playwright

from tests.support import EVENTUALLY_SECONDS, require

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright import async_api

# The browser sends nothing over the network that tests do not ask for.
ARGUMENTS: Final = (
    *("--no-sandbox", "--no-first-run", "--disable-default-apps", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    # Pages get names, for tests about origins, and TLS with certificates that a test signs itself.
    *("--host-resolver-rules=MAP *.example.com 127.0.0.1,MAP *.example 127.0.0.1", "--ignore-certificate-errors"),
)
# What Playwright takes for a function, and not for an expression.
_FUNCTION: Final = re.compile(r"(async )?(\w+|\([^()]*\)) =>")
_POLL_MILLISECONDS: Final = 20


class Chromium:
    """The browser, as a context manager. Every page has a profile of its own, so that tests do not see each other."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # The browser without tabs and windows, if it is installed: a page takes a quarter of the CPU.
        program = shutil.which("chromium-headless-shell") or require("chromium")
        self._start_playwright()
        launch = partial(self._playwright.chromium.launch, executable_path=program, args=ARGUMENTS)
        self._browser = self._portal.call(launch)
        self._stack.callback(partial(self._portal.call, self._browser.close))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start_playwright(self) -> None:
        self._portal = self._stack.enter_context(start_blocking_portal("asyncio"))
        self._playwright = self._stack.enter_context(self._portal.wrap_async_context_manager(async_playwright()))

    @asynccontextmanager
    async def page(self, url: str) -> AsyncIterator[Page]:
        """Yield a page that has loaded `url`. Fail at the end of the context if a script of the page threw an error."""
        context = await self.run(self._browser.new_context)
        try:
            page = Page(self, context, await self.run(context.new_page))
            await self.run(page.tab.goto, url)
            yield page
            assert page.errors == []
        finally:
            with anyio.CancelScope(shield=True):
                await self.run(context.close)

    async def run(self, function: Callable[..., Awaitable[Any]], *arguments: object, **keywords: object) -> Any:
        """Call a function of playwright in playwright's thread, and return its result."""
        future = self._portal.start_task_soon(partial(function, *arguments, **keywords))
        return await anyio.to_thread.run_sync(future.result, abandon_on_cancel=True)


class Page:
    """A page of the browser.

    Attributes:
        tab: Playwright's object. Call its functions with `Chromium.run`.
        sent: The text frames that the page's WebSockets sent, in order.
        received: Those that they received.
        errors: The errors that scripts threw and did not catch.
    """

    def __init__(self, browser: Chromium, context: async_api.BrowserContext, tab: async_api.Page) -> None:
        self.tab = tab
        self.sent: list[str | bytes] = []
        self.received: list[str | bytes] = []
        self.errors: list[str] = []
        self._browser = browser
        self._context = context
        tab.on("websocket", self._listen)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def _listen(self, socket: async_api.WebSocket) -> None:
        socket.on("framesent", lambda text: self.sent.append(text))
        socket.on("framereceived", lambda text: self.received.append(text))

    async def run(self, script: str, argument: object = None) -> Any:
        """Return the value of a JavaScript expression. If it is a function, call it; if it is a promise, wait for
        it.
        """
        return await self._browser.run(self.tab.evaluate, script, argument)

    async def until(self, script: str, argument: object = None) -> None:
        """Wait until a JavaScript expression is true, or what it returns if it is a function. Fail after 60 s."""
        # Playwright has the page evaluate the text of an expression, but not that of a function. A page's policy may
        # forbid that.
        function = script if _FUNCTION.match(script) else f"() => ({script})"
        wait = partial(self.tab.wait_for_function, arg=argument, polling=_POLL_MILLISECONDS)
        await self._browser.run(partial(wait, timeout=EVENTUALLY_SECONDS * 1000), function)

    async def set_offline(self, offline: bool) -> None:
        """Refuse new connections as if the network were unplugged, or allow them again, which fires the event
        `online`.
        """
        await self._browser.run(self._context.set_offline, offline)

    async def command(self, name: str, **parameters: object) -> None:
        """Send a command of the DevTools protocol."""
        session = await self._browser.run(self._context.new_cdp_session, self.tab)
        await self._browser.run(session.send, name, parameters)
