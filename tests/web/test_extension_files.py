"""The files of the browser extension: what it may do, and that copies in it are equal to their sources."""

from __future__ import annotations

import json
import re
import runpy
import struct
import subprocess
import zlib
from typing import TYPE_CHECKING, Final

import pytest

from tests.support import require
from tests.support.documents import ROOT, page
from tests.support.extension import FOLDER, MANIFEST, ORIGIN
from tests.support.page_server import ADAPTER

if TYPE_CHECKING:
    from pathlib import Path

SOURCES: Final = [file for file in sorted(FOLDER.iterdir()) if file.suffix in (".js", ".html", ".css")]
COPIED: Final = [ADAPTER.with_name("jobws-all.js"), ADAPTER.with_name("src") / "elements" / "progress.js"]
OWN: Final = [file for file in SOURCES if file.name not in {each.name for each in COPIED}]


@pytest.mark.parametrize("source", COPIED, ids=lambda source: source.name)
def test_its_copies_are_equal_to_their_sources(source: Path) -> None:
    assert (FOLDER / source.name).read_bytes() == source.read_bytes(), "run make web"


def test_it_has_the_version_of_the_packages() -> None:
    assert MANIFEST["version"] == json.loads(page("src/jobws/web/package.json"))["version"]


def test_it_may_do_nothing_to_the_pages_that_a_user_visits() -> None:
    assert MANIFEST["permissions"] == ["alarms", "contextMenus", "notifications", "storage"]
    assert {"content_scripts", "host_permissions", "optional_host_permissions", "externally_connectable"}.isdisjoint(
        MANIFEST
    )
    assert "web_accessible_resources" not in MANIFEST


def test_the_documentation_has_its_id() -> None:
    assert f"jobws serve --queues '*' --allow-origin {ORIGIN}" in page("docs/extension.md")


@pytest.mark.parametrize("size", [16, 32, 48, 128])
def test_the_icons_are_those_of_the_script(size: int) -> None:
    drawn = runpy.run_path(str(ROOT / "web" / "icons.py"))["pixels"](size)
    file = (FOLDER / "icons" / f"{size}.png").read_bytes()
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", file[16:24]) == (size, size)
    # Compressed data may differ between versions of zlib.
    (length,) = struct.unpack(">I", file[33:37])
    assert zlib.decompress(file[41 : 41 + length]) == drawn, "run python3 web/icons.py"


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.name)
def test_its_modules_are_short_and_make_no_html(file: object) -> None:
    text = (FOLDER / getattr(file, "name", "")).read_text("utf-8")
    assert text.count("\n") < 300
    made = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write|DOMParser|\beval\b", text)
    assert made == []


# By text: the job that it means, or None.
MEANT: Final = {
    "42": [None, "42"],
    " http/42 ": ["http", "42"],
    "http/a/b": ["http", "a/b"],
    "bull:http:repeat:1": ["http", "repeat:1"],
    "http://127.0.0.1:8787/jobs/http/42": ["http", "42"],
    "http://127.0.0.1:8787/live/jobs/42": [None, "42"],
    "https://jobs.example/jobs?queue=a%2Fb&jobId=7": ["a/b", "7"],
    "https://jobs.example/events?job=7": [None, "7"],
    "https://jobs.example/queues/http/jobs/4": ["http", "4"],
    "https://jobs.example/live/#/jobs/a%2Fb/42": ["a/b", "42"],
    "https://jobs.example/#/queues/http?state=failed": None,
    "https://jobs.example/jobs/jobs/42": ["jobs", "42"],
    "https://jobs.example/jobs/http/%E0": ["http", "%E0"],
    "https://board.example/ui/queue/http/42?status=failed": ["http", "42"],
    "https://jobs.example/": None,
    "https://jobs.example/jobs": None,
    "https://jobs.example/queue/http": None,
    "http://[": None,
    "two\nlines": None,
    "  ": None,
    "half a character: \ud83d": None,
    "x" * 5001: None,
}


def test_the_job_that_a_link_or_a_text_means() -> None:
    script = f"""import {{ jobIn }} from {json.dumps((FOLDER / "naming.js").as_uri())};
    console.log(JSON.stringify({json.dumps(list(MEANT))}.map(jobIn).map((it) => it && [it.queue, it.jobId])));"""
    done = subprocess.run(
        [require("node"), "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    assert dict(zip(MEANT, json.loads(done.stdout), strict=True)) == MEANT
