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

from jobws.embedded import free_port
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
        self._port = free_port()
        arguments = [*ARGUMENTS, f"--remote-debugging-port={self._port}"]
        launch = partial(self._playwright.chromium.launch, executable_path=program, args=arguments)
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

    @asynccontextmanager
    async def window(self, url: str) -> AsyncIterator[Window]:
        """Yield a page as `page` does, which can be hidden. All of them share one profile."""
        # Playwright keeps its own pages visible and awake, but leaves those alone of a browser that it found running.
        connect = partial(self._playwright.chromium.connect_over_cdp, no_defaults=True)
        found = await self.run(connect, f"http://127.0.0.1:{self._port}")
        (context,) = found.contexts
        page = Window(self, context, await self.run(context.new_page))
        try:
            await self.run(page.tab.goto, url)
            yield page
            assert page.errors == []
        finally:
            with anyio.CancelScope(shield=True):
                await self.run(page.tab.close)
                await self.run(found.close)

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

    async def command(self, name: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol, and return its result."""
        session = await self._browser.run(self._context.new_cdp_session, self.tab)
        return await self._browser.run(session.send, name, parameters)


class Window(Page):
    """A page in a window of its own."""

    async def hide(self) -> None:
        """Minimize the window."""
        await self._become("minimized", "hidden")

    async def freeze(self) -> None:
        """Hide the page, and stop its scripts, as browsers do if a page is hidden for long."""
        await self.hide()
        await self.command("Page.setWebLifecycleState", state="frozen")

    async def show(self) -> None:
        """Let the page go on where the viewer sees it."""
        await self.command("Page.setWebLifecycleState", state="active")
        await self._become("normal", "visible")

    async def _become(self, state: str, visible: str) -> None:
        window = await self.command("Browser.getWindowForTarget")
        bounds = {"windowState": state}
        await self.command("Browser.setWindowBounds", windowId=window["windowId"], bounds=bounds)
        await self.until("visible => document.visibilityState === visible", visible)
