"""What surrounds the code says the same as the code: the Makefile, pre-commit, both CIs, the version."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

from tests.support.documents import page


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", page("Makefile"), re.MULTILINE)
    assert found is not None, target
    return [line.strip().removeprefix("@") for line in found[1].splitlines()]


def test_pre_commit_runs_what_make_check_runs() -> None:
    entries = re.findall(r"^ +entry: (.*)$", page(".pre-commit-config.yaml"), re.MULTILINE)
    # Which files, pre-commit says itself.
    assert [entry.replace(" --force-exclude", "") for entry in entries] == [
        command.replace("$(BIN)", ".venv/bin").removesuffix(" .") for command in recipe("check")
    ]


def test_both_ci_run_targets_that_there_are() -> None:
    for name in (".ci/run", ".github/workflows/ci.yml"):
        targets = re.findall(r"\bmake ([a-z-]+)", page(name))
        assert {"check", "docs", "test", "demo"} <= set(targets)
        for target in targets:
            recipe(target)


def test_both_ci_require_the_same() -> None:
    (here,) = re.findall(r"JOBWS_REQUIRE=(.*)", page(".ci/run"))
    (there,) = re.findall(r"JOBWS_REQUIRE: (.*)", page(".github/workflows/ci.yml"))
    assert here == there


def test_there_is_one_version() -> None:
    assert "\nversion =" not in page("pyproject.toml")
    assert version("jobws") == json.loads(page("src/jobws/web/package.json"))["version"]
