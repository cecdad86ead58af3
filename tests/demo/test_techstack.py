"""The queue `techstack` finds what the test put into a directory, and nothing outside of it."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from jobws.demo.job import JobError
from jobws.demo.techstack import TechstackSettings, process
from jobws.protocol.nesting import MAX_LEVELS
from tests.support.nested import nested_text

if TYPE_CHECKING:
    from pathlib import Path

VERSION = f"19.2.{secrets.randbelow(1000)}"
POM = """<?xml version="1.0"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <parent><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-parent</artifactId>
    <version>3.5.0</version></parent>
  <properties><jackson.version>2.19.1</jackson.version></properties>
  <dependencies><dependency><groupId>com.fasterxml</groupId><artifactId>jackson</artifactId>
    <version>${jackson.version}</version></dependency></dependencies>
</project>"""
PLANTED = {
    "package.json": json.dumps(
        {"dependencies": {"react": VERSION}, "devDependencies": {"vite": "^8"}, "peerDependencies": {"react": VERSION}}
    ),
    "pyproject.toml": '[project]\nname="x"\ndependencies=["starlette>=1,<2 ; python_version>\'3\'", "x[all]"]\n'
    '[project.optional-dependencies]\ndb=["redis[hiredis]==8.1.0"]\n'
    '[dependency-groups]\ntest=["pytest", {include-group="other"}]\n'
    '[tool.poetry.group.dev.dependencies]\nblack={version="^26"}',
    "requirements-dev.txt": "# comment\nruff==0.14 --hash=sha256:00\n-r other.txt\ngit+https://example.com/x\n",
    "rust/Cargo.toml": '[dependencies]\nserde = "1.0"\n[workspace.dependencies]\ntokio = { version = "1.40" }\n',
    "go.mod": "module example.com/x\n\ngo 1.25\n\nrequire (\n\tgithub.com/gin-gonic/gin v1.10.0\n)\n",
    "pom.xml": POM,
    "Gemfile": "gem 'rails', '8.0.1'\ngem 'puma'\n",
    "composer.json": '{"require": {"laravel/framework": "^12"}, "require-dev": {"phpunit/phpunit": "^12.1"}}',
    "Dockerfile": "FROM --platform=linux/amd64 python:3.11-slim AS build\nFROM localhost:5000/base\n",
    "broken/package.json": "{no json",
    "bomb/pom.xml": '<!DOCTYPE x [<!ENTITY a "aaaa">]><project>&a;</project>',
    "list/package.json": "[]",
    "deep/composer.json": "[" * 100_000,
    "a.py": "pass\n",
    "b.py": "pass\n",
    "c.rs": "x",
    "node_modules/c/package.json": '{"dependencies": {"hidden": "1"}}',
    ".venv-docs/lib/d.py": "pass\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in PLANTED.items():
        file = tmp_path / "root" / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "package.json").write_text('{"dependencies": {"secret": "1"}}')
    return tmp_path / "root"


def analyse(root: Path, path: object = "project", **limits: int) -> dict[str, Any]:
    return process({"path": path}, TechstackSettings(root, **limits), lambda _: None)


def test_what_was_planted_is_found(root: Path) -> None:
    result = analyse(root)
    assert result["path"] == "project"
    assert result["languages"] == [
        {"name": "Python", "files": 2, "bytes": 10},
        {"name": "Rust", "files": 1, "bytes": 1},
    ]
    found = [(item["name"], item["version"], item["manifest"]) for item in result["frameworks"]]
    assert found == [
        ("python", "3.11-slim", "Dockerfile"),
        ("localhost:5000/base", "", "Dockerfile"),
        ("rails", "8.0.1", "Gemfile"),
        ("puma", "", "Gemfile"),
        ("laravel/framework", "^12", "composer.json"),
        ("phpunit/phpunit", "^12.1", "composer.json"),
        ("github.com/gin-gonic/gin", "v1.10.0", "go.mod"),
        ("react", VERSION, "package.json"),
        ("vite", "^8", "package.json"),
        ("org.springframework.boot:spring-boot-starter-parent", "3.5.0", "pom.xml"),
        ("com.fasterxml:jackson", "2.19.1", "pom.xml"),
        ("starlette", ">=1,<2", "pyproject.toml"),
        ("redis", "==8.1.0", "pyproject.toml"),
        ("pytest", "", "pyproject.toml"),
        ("black", "^26", "pyproject.toml"),
        ("ruff", "==0.14", "requirements-dev.txt"),
        ("serde", "1.0", "rust/Cargo.toml"),
        ("tokio", "1.40", "rust/Cargo.toml"),
    ]
    assert result["dependencies"] == len(found)
    assert result["manifests"] == sorted(result["manifests"], key=lambda name: (name.count("/"), name))
    assert "node_modules/c/package.json" not in result["manifests"]
    assert result["truncated"] is False


def test_progress_goes_up_to_the_end(root: Path) -> None:
    progress: list[object] = []
    process({"path": "project"}, TechstackSettings(root), progress.append)
    assert progress == [*range(50, 101, 5)]


@pytest.mark.parametrize(("limits", "frameworks"), [({"max_files": 3}, 4), ({"max_frameworks": 1}, 1)], ids=str)
def test_a_limit_that_cuts_is_reported(root: Path, limits: dict[str, int], frameworks: int) -> None:
    result = analyse(root, **limits)
    assert result["truncated"] is True
    assert len(result["frameworks"]) == frameworks


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing", "missing is no directory below the worker's root"),
        ("project/a.py", "project/a.py is no directory below the worker's root"),
        ("..", ".. lies outside of the worker's root"),
        ("project/../../secret", "project/../../secret lies outside of the worker's root"),
        ("/", "/ lies outside of the worker's root"),
        ("link", "link lies outside of the worker's root"),
        ("link/missing", "link/missing lies outside of the worker's root"),
        ("x\0", "'x\\x00' is no path"),
        ("circle", "circle is no directory below the worker's root"),
        (5, "`path` must be a string"),
    ],
    ids=ascii,
)
def test_what_cannot_be_analysed_says_why(root: Path, path: object, sentence: str) -> None:
    (root / "link").symlink_to("../secret")
    (root / "circle").symlink_to("circle")
    with pytest.raises(JobError) as caught:
        analyse(root, path)
    assert str(caught.value).startswith(sentence)


def test_a_manifest_that_is_nested_too_deep_costs_no_other(root: Path) -> None:
    """JSON and TOML are refused by their levels, XML is never read by recursion."""
    manifest = '{"require": {"%s": "1"}, "more": %s}'
    texts = {
        "512/composer.json": manifest % ("deepest", nested_text(MAX_LEVELS - 1)),
        "513/composer.json": manifest % ("deeper", nested_text(MAX_LEVELS)),
        "json/package.json": nested_text(100_000),
        "toml/pyproject.toml": "a = " + nested_text(100_000),
        "hidden/Cargo.toml": f'# 5" wide\na = {nested_text(100_000)}\n',
        "xml/pom.xml": "<a>" * 100_000 + "</a>" * 100_000,
        "zuletzt/composer.json": manifest % ("last", "[]"),
    }
    for name, text in texts.items():
        (root / "deep" / name).parent.mkdir(parents=True)
        (root / "deep" / name).write_text(text)
    assert [each["name"] for each in analyse(root, "deep")["frameworks"]] == ["deepest", "last"]


@pytest.mark.parametrize("opened", ["[", "{a = "])
@pytest.mark.parametrize(
    "text",
    [
        "",
        *(
            "# it's 5\" wide",
            's = "]\\"]"',
            "s = '\"'",
            's = """ " \\""" \'\'\' """',
            's = """x"""""',
            "s = '''\n\"'''",
        ),
    ],
)
def test_the_levels_of_toml_are_counted_outside_of_strings_and_comments(root: Path, opened: str, text: str) -> None:
    closed = "]" if opened == "[" else "}"

    def found(levels: int) -> list[str]:
        nested = f"n = {opened * levels}{closed * levels if opened == '[' else '1' + closed * levels}"
        many = "\n".join(["[[x]]", 's = "[[["', "# [[["] * 50)
        (root / "project" / "Cargo.toml").write_text(f'{text}\n{nested}\n{many}\n[dependencies]\nserde = "1"\n')
        return [each["name"] for each in analyse(root)["frameworks"] if each["manifest"] == "Cargo.toml"]

    assert found(100) == ["serde"]
    assert found(101) == []
    assert found(100_000) == []


def test_links_inside_are_not_followed(root: Path) -> None:
    (root / "project" / "link").symlink_to("../../secret")
    (root / "requirements.txt").symlink_to("../secret/package.json")
    (root / "project" / "z").mkdir()
    (root / "project" / "z" / "package.json").symlink_to("../../../secret/package.json")
    result = analyse(root, ".")
    assert "secret" not in json.dumps(result)
    assert VERSION in json.dumps(result)
