"""The pages that people read: README.md, protocol.md and docs/; and the code blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md") if (ROOT / name).is_file()),
    *sorted((ROOT / "docs").rglob("*.md")),
]
"""Those whose code is run. protocol.md's is run by tests/conformance."""


class Block(NamedTuple):
    """A fenced block of code. Its language is empty where none is named."""

    page: str
    language: str
    code: str


def page(name: str) -> str:
    """The text of one page, by its path from the root of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks() -> list[Block]:
    """All of them, page by page."""
    return [
        Block(str(path.relative_to(ROOT)), language, code)
        for path in PAGES
        for language, code in re.findall(
            r"^```(\w*)[^\n]*\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
    ]


def block(language: str, part: str) -> str:
    """The code that holds `part`: one text, on however many pages."""
    (found,) = {each.code for each in blocks() if each.language == language and part in each.code}
    return found


def pages_with(sentence: str) -> list[str]:
    """The pages that say it, on one line or several."""
    words = " ".join(sentence.split())
    return [str(path.relative_to(ROOT)) for path in PAGES if words in " ".join(path.read_text("utf-8").split())]
