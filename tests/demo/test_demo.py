"""The demo does real work: what was planted is what its walk shows."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.limit(120)
def test_the_demo_shows_the_walk_with_the_real_result(tmp_path: Path) -> None:
    version = f"19.2.{secrets.randbelow(1000)}"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "package.json").write_text(json.dumps({"dependencies": {"react": version}}))
    done = subprocess.run(
        [sys.executable, "-m", "jobws", "demo", "--once", "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    job = "techstack/jobws-itself"
    positions = [
        next(number for number, line in enumerate(lines) if line.startswith(start))
        for start in ("jobws-itself subscribed", f"{job} waiting", f"{job} active", f"{job} completed")
    ]
    assert positions == sorted(positions)
    assert f"  react {version} (project/package.json)" in lines
    assert [line for line in done.stderr.splitlines() if not line.startswith(f"{job} completed (")] == []
