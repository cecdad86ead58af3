"""axe-core finds nothing serious in any view of the page, the elements or the extension, light or dark.

The views are those that `make pictures ARGS="--every-view FOLDER"` takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import require
from tests.support.axe import PAGES, RUN, source
from tests.support.node import install_packages

if TYPE_CHECKING:
    from playwright.sync_api import Page


def violations(page: Page) -> Any:
    page.evaluate(f"() => {{ {source()} }}")
    return page.evaluate(RUN)


@pytest.mark.thorough
def test_no_view_has_a_serious_barrier() -> None:
    from playwright.sync_api import sync_playwright

    from tests.pictures.demo import demo
    from tests.pictures.every import launch, shown
    from tests.pictures.views import VIEWS

    require("chromium")
    install_packages(PAGES, "axe-core")
    with demo() as started, sync_playwright() as playwright:
        pages = shown(started, launch(playwright), [("wide", "light"), ("phone", "dark")])
        found = {name: violations(page) for name, page in pages}
    assert len(found) > 2 * len(VIEWS)
    assert not [(name, each) for name, each in found.items() if each]
