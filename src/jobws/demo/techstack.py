"""The queue `techstack`: reports a directory's programming languages, and the dependencies in its manifests."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobws.demo.job import directory_below, is_ignored
from jobws.demo.manifests import Dependency, reader_of
from jobws.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobws.demo.job import JsonObject, Progress

_EXTENSIONS: Final = {
    "Python": ".py .pyi",
    "JavaScript": ".js .mjs .cjs .jsx",
    "TypeScript": ".ts .mts .tsx",
    "Vue": ".vue",
    "Svelte": ".svelte",
    "HTML": ".html",
    "CSS": ".css",
    "SCSS": ".scss",
    "Rust": ".rs",
    "Go": ".go",
    "Java": ".java",
    "Kotlin": ".kt",
    "Scala": ".scala",
    "Ruby": ".rb",
    "PHP": ".php",
    "C": ".c .h",
    "C++": ".cpp .cc .hpp",
    "C#": ".cs",
    "Swift": ".swift",
    "Dart": ".dart",
    "Elixir": ".ex",
    "Shell": ".sh",
    "Lua": ".lua",
    "SQL": ".sql",
    "R": ".r",
    "Julia": ".jl",
    "Zig": ".zig",
}
_LANGUAGES: Final = {extension: name for name, extensions in _EXTENSIONS.items() for extension in extensions.split()}
MAX_MANIFEST_BYTES: Final = 1024 * 1024

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class TechstackSettings:
    """What a job may read, and how much of it.

    Attributes:
        root: Nothing outside of this directory is read.
        max_files: How many files are counted. Further files are left out, and the result says so.
        max_frameworks: How many entries `frameworks` of a result may have.
    """

    root: Path
    max_files: int = 20_000
    max_frameworks: int = 1_000


def process(data: Mapping[str, object], settings: TechstackSettings, progress: Progress) -> JsonObject:
    """Report the languages and dependencies of the directory `data["path"]`.

    Args:
        data: `{"path": directory}`, relative to the root. Without a path, the root itself is read.
        settings: Where to read, and how much.
        progress: Called with percentages: 50 when the files are counted, then after each tenth of the manifests.

    Returns:
        `{"path", "languages": [{"name", "files", "bytes"}], "frameworks": [{"name", "version", "manifest"}],
        "dependencies": n, "manifests": [path], "truncated": bool}`. Languages are sorted by size, the largest first,
        and frameworks by manifest. `version` is the version that the manifest requires, or empty if any will do.
        `dependencies` is the number of frameworks found, with those above `max_frameworks`. `truncated` says whether a
        limit left out files or frameworks.

    Raises:
        JobError: The path does not exist, is not a directory, or is outside of the root.
    """
    path = data.get("path", ".")
    directory = directory_below(settings.root, path)
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    manifests: list[Path] = []
    looked_at = 0
    for file, size in _files(directory):
        looked_at += 1
        if looked_at > settings.max_files:
            break
        language = _LANGUAGES.get(file.suffix.lower())
        if language is not None:
            counts[language] += 1
            sizes[language] += size
        if reader_of(file.name) is not None and size <= MAX_MANIFEST_BYTES:
            manifests.append(file)
    _log.info("%d files of known languages, %d manifests", counts.total(), len(manifests))
    progress(50)
    shown = [str(manifest.relative_to(directory)) for manifest in manifests]
    frameworks: list[JsonObject] = []
    for number, manifest in enumerate(manifests):
        for name, version in _dependencies(manifest):
            frameworks.append({"name": name, "version": version, "manifest": shown[number]})
        tenths, before = ((10 * done) // len(manifests) for done in (number + 1, number))
        if before < tenths < 10:
            progress(50 + 5 * tenths)
    progress(100)
    return {
        "path": path,
        "languages": [{"name": name, "files": counts[name], "bytes": size} for name, size in sizes.most_common()],
        "frameworks": frameworks[: settings.max_frameworks],
        "dependencies": len(frameworks),
        "manifests": shown,
        "truncated": looked_at > settings.max_files or len(frameworks) > settings.max_frameworks,
    }


def _files(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield the regular files below `directory`, sorted, with their sizes in bytes. Skip links, which may lead out."""
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        for name in sorted(names):
            file = Path(folder, name)
            try:
                status = file.lstat()
            except OSError:  # the file was deleted meanwhile
                continue
            if stat.S_ISREG(status.st_mode):
                yield file, status.st_size


def _dependencies(manifest: Path) -> list[Dependency]:
    """Return the dependencies in a manifest, without duplicates; none if the manifest is broken."""
    reader = reader_of(manifest.name)
    if reader is None:
        return []
    try:
        return list(dict.fromkeys(reader(manifest.read_text(encoding="utf-8"))))
    # XML's ParseError is a SyntaxError.
    except (OSError, RequestError, ValueError, LookupError, TypeError, AttributeError, SyntaxError):
        return []
