"""The files of the adapter and of the page that a bridge serves are those that `make web` makes of the sources."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support import require
from tests.support.node import NODE, install_packages
from tests.support.page_server import ADAPTER

ROOT = Path(__file__).parent.parent.parent
BUILD = NODE.parent / "node-build"


def test_what_is_served_is_what_the_sources_make(tmp_path: Path) -> None:
    node = require("node", "npm")
    install_packages(BUILD, last="terser")
    subprocess.run([node, str(BUILD / "build.mjs"), str(tmp_path)], check=True, timeout=120)
    built = {each.name: each.read_text("utf-8") for each in tmp_path.iterdir()}
    assert len(built) == 7
    for name, text in built.items():
        assert ADAPTER.with_name(name).read_text("utf-8") == text, f"{name} is older than its sources: make web"


def test_names_that_users_see_stay() -> None:
    """The build shortens no name that is a property of the types or of frames."""
    internal = set(re.findall(r"const INTERNAL = `([^`]*)`", (BUILD / "build.mjs").read_text("utf-8"))[0].split())
    types = "".join(file.read_text("utf-8") for file in ADAPTER.parent.glob("*.d.ts"))
    assert internal.isdisjoint(re.findall(r"^\s+(?:readonly )?(\w+)[?(:<]", types, re.MULTILINE))
    keys = re.findall(r'"(\w+)":', (ROOT / "protocol.md").read_text("utf-8"))
    assert internal.isdisjoint(keys)
