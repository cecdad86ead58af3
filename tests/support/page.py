"""What tests of the bridge's page share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.support.browser import Page

# A function, since the page's Content Security Policy forbids to evaluate text.
_SAYS: Final = """([where, text]) =>
    [...document.querySelectorAll(where)].some((each) => each.innerText.trim() === text)"""


async def says(page: Page, where: str, text: str) -> None:
    """Wait until an element that the selector `where` matches has this text."""
    await page.until(_SAYS, [where, text])
