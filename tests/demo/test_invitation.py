"""The demo tells its viewer first where the page is, and its commands start as they stand."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from jobws.demo.invitation import greet, invite, program

HERE = Path(sys.executable).parent / "jobws"


@pytest.mark.parametrize(
    ("started", "folder", "wanted"),
    [
        (str(HERE), None, str(HERE)),
        (os.path.relpath(HERE), None, os.path.relpath(HERE)),
        (str(HERE), HERE.parent, "jobws"),
        ("/somewhere/jobws/__main__.py", HERE.parent, f"{sys.executable} -m jobws"),
    ],
    ids=["path", "relative path", "on PATH", "module"],
)
def test_the_program_is_named_as_a_shell_finds_it(
    monkeypatch: pytest.MonkeyPatch, started: str, folder: Path | None, wanted: str
) -> None:
    monkeypatch.setattr(sys, "argv", [started, "demo"])
    monkeypatch.setenv("PATH", "/usr/bin:/bin" if folder is None else f"{folder}:/usr/bin:/bin")
    assert program() == wanted
    done = subprocess.run(f"{wanted} submit --help", shell=True, capture_output=True, check=False)
    assert done.returncode == 0


def test_another_jobws_on_path_is_not_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "jobws"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(HERE)])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == shlex.quote(str(HERE))


def test_the_page_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(HERE)])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    shown = StringIO()
    console = Console(file=shown)
    greet("http://127.0.0.1:1", console)
    assert shown.getvalue().startswith("http://127.0.0.1:1/ ")
    invite("http://127.0.0.1:1", "redis://127.0.0.1:2", console)
    names = [line.split() for line in shown.getvalue().splitlines() if line.startswith("  ") and line[2] != " "]
    assert names[0] == ["page", "http://127.0.0.1:1/"]
    commands = [words[1] for words in names if words[0] in ("submit", "follow", "logs")]
    assert commands == 3 * [str(HERE)]
