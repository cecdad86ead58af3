"""The demo does real work: what was planted is what arrives."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jobws.demo.techstack import InvalidJobError, analyse

if TYPE_CHECKING:
    from pathlib import Path

VERSION = f"19.2.{secrets.randbelow(1000)}"
PLANTED = {
    "package.json": json.dumps({"dependencies": {"react": VERSION}, "devDependencies": {"vite": "^8"}}),
    "pyproject.toml": '[project]\nname="x"\ndependencies=["starlette>=1,<2 ; python_version>\'3\'", "x[all]"]\n'
    '[project.optional-dependencies]\ndb=["redis[hiredis]==8.1.0"]\n[dependency-groups]\ntest=["pytest"]',
    "requirements-dev.txt": "# comment\nruff==0.14\n-r other.txt\ngit+https://example.com/x\n",
    "rust/Cargo.toml": '[dependencies]\nserde = "1.0"\ntokio = { version = "1.40" }\n',
    "go.mod": "module x\nrequire (\n\tgithub.com/gin-gonic/gin v1.10.0\n)\n",
    "Gemfile": "gem 'rails', '8.0.1'\ngem 'puma'\n",
    "composer.json": '{"require": {"laravel/framework": "^12"}}',
    "Dockerfile": "FROM --platform=linux/amd64 python:3.11-slim AS build\nFROM scratch\n",
    "broken/package.json": "{no json",
    "a.py": "pass\n",
    "b.py": "pass\n",
    "node_modules/c/package.json": '{"dependencies": {"hidden": "1"}}',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in PLANTED.items():
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_what_was_planted_is_found(root: Path) -> None:
    progress: list[float] = []
    result = analyse({"path": "project"}, root, progress.append)
    assert result["languages"] == [{"name": "Python", "files": 2, "bytes": 10}]
    found = {(item["name"], item["version"], item["manifest"]) for item in result["frameworks"]}  # type: ignore[attr-defined]
    assert found == {
        ("react", VERSION, "package.json"),
        ("vite", "^8", "package.json"),
        ("starlette", ">=1,<2", "pyproject.toml"),
        ("redis", "==8.1.0", "pyproject.toml"),
        ("pytest", "", "pyproject.toml"),
        ("ruff", "==0.14", "requirements-dev.txt"),
        ("serde", "1.0", "rust/Cargo.toml"),
        ("tokio", "1.40", "rust/Cargo.toml"),
        ("github.com/gin-gonic/gin", "v1.10.0", "go.mod"),
        ("rails", "8.0.1", "Gemfile"),
        ("puma", "", "Gemfile"),
        ("laravel/framework", "^12", "composer.json"),
        ("python", "3.11-slim", "Dockerfile"),
        ("scratch", "", "Dockerfile"),
    }
    assert progress[0] == 50
    assert progress[-1] == 100


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing", "missing is no directory"),
        ("..", ".. lies outside of the worker's root"),
        ("/", "/ lies outside of the worker's root"),
        ("link", "link lies outside of the worker's root"),
        (5, "`path` must be a string: a directory below the worker's root"),
    ],
    ids=str,
)
def test_what_cannot_be_analysed_says_why(root: Path, path: object, sentence: str) -> None:
    (root / "link").symlink_to("/")
    with pytest.raises(InvalidJobError) as caught:
        analyse({"path": path}, root, lambda _: None)
    assert str(caught.value) == sentence


@pytest.mark.limit(120)
def test_the_demo_shows_the_walk_with_the_real_result(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobws", "demo", "--once", "--root", str(root)],
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
    assert f"  react {VERSION} (project/package.json)" in lines
    assert done.stderr == ""
