"""axe-core, which finds barriers in pages."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PAGES: Final = Path(__file__).parent.parent / "web" / "pages"
"""The folder whose package.json names it."""
RUN: Final = """async () => (await axe.run()).violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html }) => html)])"""
"""Returns the serious violations of a page in which `source` was run: their rules, each with elements that break it."""


def source() -> str:
    """Return the script."""
    return (PAGES / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")
