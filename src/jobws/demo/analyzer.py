"""The queue `analyzer`: reports what bandit, a scanner for security problems, finds in a directory's Python files."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from jobws.demo.job import IGNORED_DIRECTORIES, JobError, directory_below
from jobws.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from jobws.demo.job import JsonObject, Progress

_LEVELS: Final = ("HIGH", "MEDIUM", "LOW", "UNDEFINED")
# How often to report progress. If the worker stops, a report raises, and bandit ends after this time at the latest.
_REPORT_SECONDS: Final = 0.5

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnalyzerSettings:
    """What a job may read, and how long it may take.

    Attributes:
        root: Nothing outside of this directory is read.
        timeout_seconds: The limit for one run of bandit.
        max_issues: How many entries `issues` of a result may have. The totals count all issues.
    """

    root: Path
    timeout_seconds: float = 120.0
    max_issues: int = 200


def process(data: Mapping[str, object], settings: AnalyzerSettings, progress: Progress) -> JsonObject:
    """Run bandit on the directory `data["path"]`.

    Args:
        data: `{"path": directory}`, relative to the root. Without a path, the root itself is read.
        settings: Where to read, and for how long.
        progress: Called with `{"step": "scanning", "seconds": n}` twice a second, since bandit itself reports no
            progress.

    Returns:
        `{"path", "files", "issues": [{"test_id", "severity", "confidence", "file", "line", "text"}], "totals": {"HIGH",
        "MEDIUM", "LOW", "UNDEFINED", "lines", "unreadable"}}`. `files` is how many `.py` files bandit read. The most
        severe issues come first, and there are at most `max_issues`. `totals` counts all issues by severity, the lines
        of code, and the `.py` files that bandit cannot read or parse.

    Raises:
        JobError: The path does not exist, is not a directory, or is outside of the root; or bandit failed or took too
            long.
        MissingExtraError: bandit is not installed.
    """
    path = data.get("path", ".")
    directory = directory_below(settings.root, path)
    if importlib.util.find_spec("bandit") is None:
        raise MissingExtraError("demo", "the analyzer queue")
    _log.info("bandit begins with %s", path)
    report = _bandit(directory, settings.timeout_seconds, progress)
    found = [_issue(result) for result in report["results"] if _lies_in(directory, result["filename"])]
    found.sort(key=lambda issue: (_LEVELS.index(str(issue["severity"])), str(issue["file"])))
    severities = Counter(str(issue["severity"]) for issue in found)
    metrics = report["metrics"]
    return {
        "path": path,
        "files": len(metrics) - 1,
        "issues": found[: settings.max_issues],
        "totals": {
            **{level: severities[level] for level in _LEVELS},
            "lines": metrics["_totals"]["loc"],
            "unreadable": len(report["errors"]),
        },
    }


def _bandit(directory: Path, timeout_seconds: float, progress: Progress) -> dict[str, Any]:
    """Run bandit and return its report. The process of bandit ends with this call, even if `progress` raises."""
    command = [
        # -P, since the current directory is the analysed one, and Python must not import a `json.py` from there.
        *(sys.executable, "-P", "-m", "bandit", "-f", "json", "-q", "-r", "."),
        # A `.bandit` file in the directory could name other targets.
        *("--ini", os.devnull),
        # Paths begin with `./`, so the names of parent directories do not match these patterns.
        *("--exclude", ",".join(f"*/{name}/*" for name in IGNORED_DIRECTORIES)),
    ]
    began = time.monotonic()
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        try:
            while True:
                try:
                    output, errors = process.communicate(timeout=_REPORT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    seconds = time.monotonic() - began
                    if seconds > timeout_seconds:
                        raise JobError(f"bandit took longer than {timeout_seconds:.0f} s") from None
                    progress({"step": "scanning", "seconds": round(seconds, 1)})
        finally:
            process.kill()
    # 0 means that nothing was found, 1 that issues were found.
    if process.returncode not in (0, 1):
        raise JobError(f"bandit failed: {errors.decode(errors='replace').strip()[-500:]}")
    report: dict[str, Any] = json.loads(output)
    return report


def _lies_in(directory: Path, file: str) -> bool:
    """Whether a file is in `directory` after links are resolved, since bandit follows links that lead out of it."""
    return (directory / file).resolve().is_relative_to(directory)


def _issue(result: dict[str, Any]) -> JsonObject:
    return {
        "test_id": result["test_id"],
        "severity": result["issue_severity"],
        "confidence": result["issue_confidence"],
        "file": result["filename"].removeprefix("./"),
        "line": result["line_number"],
        "text": result["issue_text"],
    }
