"""What tests of pages share: the server of the pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.page_server import PAGES, PageServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ADAPTER = Path(__file__).parent.parent.parent / "src" / "jobws" / "web" / "jobws.js"
SOCKET_IO = PAGES / "node_modules" / "socket.io-client" / "dist" / "socket.io.esm.min.js"


@pytest.fixture(scope="session")
def pages() -> Iterator[PageServer]:
    """The pages. `new.html` is `old.html` with another import line."""
    with PageServer(_file) as server:
        yield server


def _file(path: str) -> bytes | None:
    match path:
        case "jobws.js" | "jobws-http.js" | "jobws-all.js":
            return ADAPTER.with_name(path).read_bytes()
        case "socket.io.esm.min.js":
            return SOCKET_IO.read_bytes()
        case "new.html":
            before, line, after = (
                (PAGES / "old.html").read_bytes().partition(b"import { io } from '/socket.io.esm.min.js'")
            )
            assert line
            return before + b"import { io } from '/jobws.js'" + after
        case _:
            file = PAGES / path
            return file.read_bytes() if file.is_file() else None
