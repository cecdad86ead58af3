"""Makes pages of the site from files that live elsewhere in the repository, and their links lead there.

In the repository links are relative to the file, as forges show them. On the site a link to a file that is no page is
its text alone; a link to a file that does not exist stays, so that the strict build fails.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent.parent
# By path from the root: the page that the file is.
ELSEWHERE: Final = {
    "README.md": "index.md",
    "protocol.md": "protocol.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "tests/bench/README.md": "figures.md",
    "tests/conformance/README.md": "conformance.md",
    "examples/README.md": "examples.md",
}
_LINK: Final = re.compile(r"\[([^\]]+)\]\(([^)#\s:]+)(#[^)\s]*)?\)")
_FETCHED: Final = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*(?:src|href)=["']?(?:https?:)?//[^"'>]*""")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live elsewhere."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of one page."""
    here = page.file.src_uri
    sources = {site: source for source, site in ELSEWHERE.items()}
    folder = posixpath.dirname(sources.get(here, f"docs/{here}"))

    def rewrite(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        path = posixpath.normpath(posixpath.join(folder, target))
        site = ELSEWHERE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(site) is not None:
            return f"[{text}]({posixpath.relpath(site, posixpath.dirname(here) or '.')}{anchor or ''})"
        return text if (ROOT / path).exists() else link[0]

    return _LINK.sub(rewrite, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would have browsers ask another host."""
    foreign = _FETCHED.search(output)
    if foreign is not None:
        raise PluginError(f"{page.file.src_uri} fetches {foreign[0]}")
    return output
