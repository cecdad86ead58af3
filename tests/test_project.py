"""The files around the code agree with it and with each other: the Makefile, pre-commit, both CIs, the version."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import ANIMATION, ANIMATION_BYTES, PAGES, PICTURE_BYTES, PICTURES, ROOT, page

if TYPE_CHECKING:
    from pathlib import Path


PROSE = [
    *PAGES,
    *(ROOT / name for name in ("protocol.md", "CHANGELOG.md", "examples/README.md", "tests/bench/README.md")),
]


def recipe(target: str) -> list[str]:
    """Return the commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", page("Makefile"), re.MULTILINE)
    assert found is not None, target
    return [line.strip().removeprefix("@") for line in found[1].splitlines()]


def test_pre_commit_runs_what_make_check_runs() -> None:
    entries = re.findall(r"^ +entry: (.*)$", page(".pre-commit-config.yaml"), re.MULTILINE)
    # pre-commit itself decides which files to check.
    assert [entry.replace(" --force-exclude", "") for entry in entries] == [
        command.replace("$(BIN)", ".venv/bin").removesuffix(" .") for command in recipe("check")
    ]


def test_both_ci_run_targets_that_there_are() -> None:
    for name in (".ci/run", ".github/workflows/ci.yml"):
        targets = re.findall(r"\bmake ([a-z-]+)", page(name))
        assert {"check", "docs", "test-all", "demo"} <= set(targets)
        for target in targets:
            recipe(target)


def test_the_bare_machine_runs_the_two_commands() -> None:
    assert re.findall(r"^make ([a-z-]+)", page(".ci/bare"), re.MULTILINE) == ["demo", "test"]


def test_both_ci_require_the_same() -> None:
    (here,) = re.findall(r"JOBWS_REQUIRE=(.*)", page(".ci/run"))
    (there,) = re.findall(r"JOBWS_REQUIRE: (.*)", page(".github/workflows/ci.yml"))
    assert here == there


def test_there_is_one_version() -> None:
    assert "\nversion =" not in page("pyproject.toml")
    assert version("jobws") == json.loads(page("src/jobws/web/package.json"))["version"]


@pytest.mark.parametrize("file", PROSE, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    """Only files are checked here. `make docs` checks anchors."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", file.read_text("utf-8")):
        assert target.startswith("https://") or (file.parent / target).exists(), target


def test_pictures_are_those_that_documents_show_and_small() -> None:
    shown = {
        (file.parent / target).resolve()
        for file in PAGES
        for target in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", file.read_text("utf-8"))
    }
    assert len(shown) > 1
    assert shown == set(PICTURES.iterdir())
    sizes = {path.name: path.stat().st_size for path in shown}
    assert sizes.pop(ANIMATION) <= ANIMATION_BYTES
    assert max(sizes.values()) <= PICTURE_BYTES


@pytest.mark.parametrize("file", PROSE, ids=lambda file: str(file.relative_to(ROOT)))
def test_paths_that_are_named_exist(file: Path) -> None:
    """Paths below the folders that a reader may look into are checked.

    `src/` may also be that of the JavaScript client.
    """
    for path in re.findall(r"`((?:src/jobws|tests|docs|examples)/[\w./-]*)`", file.read_text("utf-8")):
        assert (ROOT / path).exists(), path
