"""The documents of the project, README.md, protocol.md and docs/, and the blocks of code in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent.parent
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md") if (ROOT / name).is_file()),
    *sorted((ROOT / "docs").rglob("*.md")),
]
"""The documents whose code is run. The code of protocol.md is run by tests/conformance."""
PICTURES: Final = ROOT / "docs" / "pictures"
"""The folder of their pictures, which `make pictures` writes. None is larger than the figures that follow."""
PICTURE_BYTES: Final = 60_000
ANIMATION: Final = "beside-a-board.webp"
ANIMATION_BYTES: Final = 300_000


class Block(NamedTuple):
    """A fenced block of code. `language` is empty if the block names none."""

    page: str
    language: str
    code: str


def page(name: str) -> str:
    """Return the text of a document. `name` is its path from the root of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks() -> list[Block]:
    """Return all blocks of code, document by document."""
    return [
        Block(str(path.relative_to(ROOT)), language, code)
        for path in PAGES
        for language, code in re.findall(
            r"^```(\w*)[^\n]*\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
    ]


def block(language: str, part: str) -> str:
    """Return the block of code that contains `part`. If several documents have it, their texts must be the same."""
    (found,) = {each.code for each in blocks() if each.language == language and part in each.code}
    return found


def pages_with(sentence: str) -> list[str]:
    """Return the documents that contain a sentence, whether or not it is broken into lines."""
    words = " ".join(sentence.split())
    return [str(path.relative_to(ROOT)) for path in PAGES if words in " ".join(path.read_text("utf-8").split())]
