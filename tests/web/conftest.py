"""What tests of pages share: a web server with the pages, the extension, and a demo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.demo import Demo, HeldPage, running_demo
from tests.support.page_server import PageServer, page_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.extension_browser import ExtensionBrowser


@pytest.fixture(scope="session")
def pages() -> Iterator[PageServer]:
    """Serve the pages. `new.html` is `old.html` with another import line."""
    with PageServer(page_file) as server:
        yield server


@pytest.fixture(scope="session")
def _extension_browser() -> Iterator[ExtensionBrowser]:
    """The browser that all tests of a process share. Playwright is imported only if a test uses it."""
    from tests.support.extension_browser import ExtensionBrowser

    with ExtensionBrowser() as browser:
        yield browser


@pytest.fixture
def extension(_extension_browser: ExtensionBrowser) -> ExtensionBrowser:
    """A browser with the extension, which has kept nothing."""
    _extension_browser.reset()
    return _extension_browser


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo whose own jobs have ended. They have read a folder with one manifest, and fetched a page of this test."""
    root = tmp_path_factory.mktemp("demo")
    (root / "package.json").write_text('{"dependencies": {"react": "19.2.7"}}')
    with HeldPage() as page, running_demo("--root", str(root), "--page", page.url) as urls:
        yield Demo(urls.bridge, urls.redis, root, page)
