"""Pages of somebody else that hold the custom elements, with a strict Content-Security-Policy."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import TimeoutError

from tests.support.bridge import live_bridge
from tests.support.page_server import PageServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.support.bridge import Live
    from tests.support.browser import Chromium, Page

# Neither inline styles nor inline scripts: scripts come from the page itself and from the bridge.
_POLICY: Final = "default-src 'none'; script-src 'self' {bridge}; connect-src {bridge} {socket}"
# Writes down what the policy refuses. `part` is the text of a part of the first element, or of the one that is named.
HOST_SCRIPT: Final = b"""
window.refused = [];
addEventListener('securitypolicyviolation', (event) => refused.push(`${event.violatedDirective} ${event.blockedURI}`));
window.part = (name, element = 'jobws-job') => {
  const found = document.querySelector(element)?.shadowRoot?.querySelector(`[part~="${name}"]`);
  return found && !found.hidden ? found.innerText : null;
};
"""


class HostPage(PageServer):
    """Serves one page that loads `elements.js` from a bridge. Use it as a context manager.

    `body` stands in the page, and `script` runs before the elements are there.

    Attributes:
        bridge: The URL of the bridge.
    """

    def __init__(self, body: str, script: str = "") -> None:
        self.bridge = ""
        self._body = body
        self._script = HOST_SCRIPT + script.encode()
        super().__init__(self._file)

    def _file(self, path: str) -> bytes | None:
        policy = _POLICY.format(bridge=self.bridge, socket=self.bridge.replace("http", "ws", 1))
        page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Jobs</title>
            <meta http-equiv="content-security-policy" content="{policy}"><script src="host.js"></script>
            <script type="module" src="{self.bridge}/elements.js"></script>{self._body}"""
        return {"page.html": page.encode(), "host.js": self._script}.get(path)


@asynccontextmanager
async def host_page(
    chromium: Chromium,
    redis_url: str,
    body: str,
    serve: Callable[..., AbstractAsyncContextManager[Live]] = live_bridge,
    script: str = "",
    **settings: Any,
) -> AsyncIterator[tuple[Live, Page]]:
    """Yield a bridge, and a page of another origin that holds `body`. The page's policy must refuse nothing.

    `script` runs in the page before the elements are there.

    `settings` are those of the bridge, which `serve` serves.
    """
    with HostPage(body, script) as pages:
        async with serve(redis_url, allowed_origins=(pages.origin,), **settings) as live:
            pages.bridge = live.url
            async with chromium.page(f"{pages.origin}/page.html") as page:
                yield live, page
                assert await page.run("refused") == []


async def until_part(page: Page, name: str, text: str | None, element: str = "jobws-job") -> None:
    """Wait until a part of an element has this text; None: it is not shown."""
    try:
        await page.until("([name, text, element]) => part(name, element) === text", [name, text, element])
    except TimeoutError:
        shown = await page.run("([name, element]) => part(name, element)", [name, element])
        raise AssertionError(f"{name} shows {shown!r}, not {text!r}") from None
