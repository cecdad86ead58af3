"""Queue `techstack`: which languages, frameworks and versions a directory's manifests tell of."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Dependency: TypeAlias = tuple[str, str]
"""A package's name and the version that the manifest asks for (empty: any)."""

_LANGUAGES: Final = {
    **{".py": "Python", ".pyi": "Python", ".js": "JavaScript", ".mjs": "JavaScript", ".cjs": "JavaScript"},
    **{".ts": "TypeScript", ".tsx": "TypeScript", ".jsx": "JavaScript", ".html": "HTML", ".css": "CSS"},
    **{".rs": "Rust", ".go": "Go", ".java": "Java", ".kt": "Kotlin", ".rb": "Ruby", ".php": "PHP", ".c": "C"},
    **{".h": "C", ".cpp": "C++", ".cs": "C#", ".swift": "Swift", ".sh": "Shell", ".lua": "Lua", ".sql": "SQL"},
}
_IGNORED: Final = frozenset({"node_modules", "dist", "build", "target", "vendor", "__pycache__"})
MAX_FILES: Final = 20_000
MAX_MANIFEST_BYTES: Final = 1024 * 1024


class InvalidJobError(ValueError):
    """A job's data cannot be worked on; the text becomes BullMQ's `failedReason`."""


def analyse(data: Mapping[str, object], root: Path, progress: Callable[[float], None]) -> dict[str, object]:
    """What the directory `data["path"]` below `root` is made with.

    Args:
        data: `{"path": directory}`, relative to `root`; without it, `root` itself.
        root: Nothing outside of it is read.
        progress: Told percentages.

    Returns:
        `{"path", "languages": [{"name", "files", "bytes"}], "frameworks": [{"name", "version", "manifest"}],
        "manifests": [path]}`, languages by size, frameworks by manifest.

    Raises:
        InvalidJobError: The path is missing, no directory, or outside of `root`.
    """
    directory = _directory(data.get("path", "."), root)
    files: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    manifests: list[Path] = []
    for file in _files(directory):
        language = _LANGUAGES.get(file.suffix)
        if language is not None:
            files[language] += 1
            sizes[language] += file.stat().st_size
        if _reader_of(file.name) is not None:
            manifests.append(file)
    progress(50)
    frameworks = []
    for number, manifest in enumerate(sorted(manifests), 1):
        shown = str(manifest.relative_to(directory))
        frameworks += [
            {"name": name, "version": version, "manifest": shown} for name, version in _dependencies(manifest)
        ]
        progress(50 + 50 * number / len(manifests))
    return {
        "path": str(data.get("path", ".")),
        "languages": [{"name": name, "files": files[name], "bytes": size} for name, size in sizes.most_common()],
        "frameworks": frameworks,
        "manifests": [str(manifest.relative_to(directory)) for manifest in sorted(manifests)],
    }


def _directory(path: object, root: Path) -> Path:
    if not isinstance(path, str):
        raise InvalidJobError("`path` must be a string: a directory below the worker's root")
    directory = (root / path).resolve()
    if not directory.is_relative_to(root.resolve()):
        raise InvalidJobError(f"{path} lies outside of the worker's root")
    if not directory.is_dir():
        raise InvalidJobError(f"{path} is no directory")
    return directory


def _files(directory: Path) -> Iterator[Path]:
    """The files below `directory`, without what tools put there; links are not followed."""
    count = 0
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if name not in _IGNORED and not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                count += 1
                if count > MAX_FILES:
                    return
                yield file


def _dependencies(manifest: Path) -> list[Dependency]:
    """What a manifest asks for; nothing if it cannot be read, since one bad file must not cost the others."""
    reader = _reader_of(manifest.name)
    if reader is None or manifest.stat().st_size > MAX_MANIFEST_BYTES:
        return []
    try:
        return reader(manifest.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _reader_of(name: str) -> Callable[[str], list[Dependency]] | None:
    if name.startswith("requirements") and name.endswith(".txt"):
        return _requirements
    return _READERS.get(name)


def _package_json(text: str) -> list[Dependency]:
    content: dict[str, dict[str, str]] = json.loads(text)
    found: list[Dependency] = []
    for section in ("dependencies", "devDependencies", "peerDependencies"):
        found += [(name, str(version)) for name, version in content.get(section, {}).items()]
    return found


def _pyproject(text: str) -> list[Dependency]:
    content = tomllib.loads(text)
    project: dict[str, Any] = content.get("project", {})
    lines: list[str] = list(project.get("dependencies", []))
    for extra in project.get("optional-dependencies", {}).values():
        lines += extra
    for group in content.get("dependency-groups", {}).values():
        lines += [line for line in group if isinstance(line, str)]
    own = str(project.get("name", ""))
    return [dependency for line in lines for dependency in _requirement(line) if dependency[0] != own]


def _requirements(text: str) -> list[Dependency]:
    return [dependency for line in text.splitlines() for dependency in _requirement(line)]


_REQUIREMENT: Final = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*([^;#]*)")


def _requirement(line: str) -> list[Dependency]:
    """A line of PEP 508, without extras and markers; options, links and comments are none."""
    match = _REQUIREMENT.match(line)
    return [(match[1], match[2].strip())] if match and "://" not in line else []


def _cargo(text: str) -> list[Dependency]:
    content = tomllib.loads(text)
    found: list[Dependency] = []
    for section in ("dependencies", "dev-dependencies"):
        for name, value in content.get(section, {}).items():
            found.append((name, str(value.get("version", "") if isinstance(value, dict) else value)))
    return found


def _go_mod(text: str) -> list[Dependency]:
    return re.findall(r"^\s*(?:require\s+)?([\w./-]+\.[\w./-]+)\s+(v[\w.+-]+)", text, re.MULTILINE)


def _gemfile(text: str) -> list[Dependency]:
    return re.findall(r"""^\s*gem\s+['"]([^'"]+)['"](?:\s*,\s*['"]([^'"]+)['"])?""", text, re.MULTILINE)


def _composer(text: str) -> list[Dependency]:
    content: dict[str, dict[str, str]] = json.loads(text)
    return [(name, str(version)) for name, version in content.get("require", {}).items()]


def _dockerfile(text: str) -> list[Dependency]:
    images = re.findall(r"^FROM\s+(?:--\S+\s+)*(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return [(name, tag) for name, _, tag in (image.partition(":") for image in images)]


_READERS: Final[dict[str, Callable[[str], list[Dependency]]]] = {
    "package.json": _package_json,
    "pyproject.toml": _pyproject,
    "Cargo.toml": _cargo,
    "go.mod": _go_mod,
    "Gemfile": _gemfile,
    "composer.json": _composer,
    "Dockerfile": _dockerfile,
}
