"""The queue `analyzer` finds a flaw where the test put it, and never runs the analysed code."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from jobws.demo.analyzer import AnalyzerSettings, process
from jobws.demo.job import JobError

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("bandit", reason="the analyzer needs jobws[demo]")

FLAW = "import subprocess\n\nsubprocess.run(input(), shell=True)\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    # A directory `build` above the project is not part of the project.
    project = root / "build" / "project"
    for name in ("src/app.py", "node_modules/x/hidden.py", ".venv-docs/lib/hidden.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(FLAW)
    (project / "src" / "fine.py").write_text("print(1)\n")
    return root


def analyse(root: Path, path: object = "build/project", max_issues: int = 200) -> dict[str, Any]:
    return process({"path": path}, AnalyzerSettings(root, max_issues=max_issues), lambda _: None)


def test_a_planted_flaw_is_found(root: Path) -> None:
    result = analyse(root)
    assert (result["path"], result["files"]) == ("build/project", 2)
    worst = result["issues"][0]
    assert {key: worst[key] for key in ("test_id", "severity", "confidence", "file", "line")} == {
        **{"test_id": "B602", "severity": "HIGH", "confidence": "HIGH", "file": "src/app.py", "line": 3},
    }
    assert "shell=True" in worst["text"]
    assert {issue["file"] for issue in result["issues"]} == {"src/app.py"}
    assert result["totals"] == {"HIGH": 1, "MEDIUM": 0, "LOW": 1, "UNDEFINED": 0, "lines": 3, "unreadable": 0}


def test_the_list_is_bounded_and_the_totals_are_not(root: Path) -> None:
    result = analyse(root, max_issues=1)
    assert [issue["severity"] for issue in result["issues"]] == ["HIGH"]
    assert result["totals"]["LOW"] == 1


def test_the_analysed_code_is_not_run_nor_obeyed(root: Path) -> None:
    project = root / "build" / "project"
    for module in ("bandit", "json", "ast"):
        (project / f"{module}.py").write_text("import pathlib\npathlib.Path('run').touch()\nraise SystemExit(2)\n")
    (project / ".bandit").write_text("[bandit]\ntargets = /\ntests = B101\n")
    (project / "src" / ".bandit").write_text("[bandit]\nskips = B602\n")
    assert analyse(root)["totals"]["HIGH"] == 1
    assert not (project / "run").exists()


def test_files_that_are_no_python_are_counted(root: Path) -> None:
    (root / "broken.py").write_text("def (")
    assert analyse(root, ".")["totals"]["unreadable"] == 1


def test_nothing_outside_is_reported(root: Path) -> None:
    secret = root.parent / "secret.py"
    secret.write_text('password = "planted"\n')
    (root / "build" / "project" / "link.py").symlink_to(secret)
    assert "planted" not in json.dumps(analyse(root))
    with pytest.raises(JobError, match=r"^\.\. lies outside of the worker's root$"):
        analyse(root, "..")
    with pytest.raises(JobError, match=r"^missing is no directory"):
        analyse(root, "missing")


def test_a_run_that_takes_too_long_ends(root: Path) -> None:
    """The process is reaped before the error is raised. Otherwise Python would warn, and the test would fail."""
    big = "\n".join(f"x{number} = eval(str({number}))" for number in range(20_000))
    for number in range(10):
        (root / f"big{number}.py").write_text(big)
    began = time.monotonic()
    with pytest.raises(JobError, match="bandit took longer than 0 s"):
        process({}, AnalyzerSettings(root, timeout_seconds=0.1), lambda _: None)
    assert time.monotonic() - began < 10


def test_a_worker_that_stops_ends_the_run(root: Path) -> None:
    (root / "big.py").write_text("\n".join(f"x{number} = eval(str({number}))" for number in range(50_000)))

    def stop(value: float | dict[str, object]) -> None:
        assert isinstance(value, dict)
        assert (value["step"], float(str(value["seconds"])) >= 0.5) == ("scanning", True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process({}, AnalyzerSettings(root), stop)
