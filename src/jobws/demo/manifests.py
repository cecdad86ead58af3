"""Reads dependencies, with names and versions, from the manifests of common package systems."""

from __future__ import annotations

import re
import tomllib
import xml.etree.ElementTree as ElementTree
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jobws.errors import RequestError
from jobws.protocol.codec import decode_json
from jobws.protocol.nesting import is_too_deep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Dependency: TypeAlias = tuple[str, str]
"""A package's name, and the version that the manifest requires; empty if it accepts any version."""

Reader: TypeAlias = "Callable[[str], Iterable[Dependency]]"


def reader_of(name: str) -> Reader | None:
    """Return the function for files of this name, or None if such a file is not a manifest.

    The function takes the text of a file and returns its dependencies. If the text is malformed, it may raise any
    exception, also while the dependencies are iterated.
    """
    return next((reader for pattern, reader in _READERS.items() if fnmatchcase(name, pattern)), None)


def _package_json(text: str) -> Iterable[Dependency]:
    content: Any = decode_json(text)
    for section in ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"):
        yield from _table(content.get(section, {}))


def _composer(text: str) -> Iterable[Dependency]:
    content: Any = decode_json(text)
    for section in ("require", "require-dev"):
        yield from _table(content.get(section, {}))


_TOML_LEVELS: Final = 100
"""How many arrays and inline tables may be nested. `tomllib` calls itself up to three times for each."""
# A string of TOML or a comment. Of one that does not end, all that follows: the text is malformed there.
_TOML_TEXT: Final = re.compile(
    r"""
    \"{3} (?:\\?.)*? (?:\"{3,5}|\Z) | '{3} .*? (?:'{3,5}|\Z)
    | " (?:\\[^\n]|[^"\\\n])* "? | ' [^'\n]* '?
    | \#[^\n]*
    """,
    re.DOTALL | re.VERBOSE,
)


def _toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises RequestError (`too-deep`) if it is nested too deep, and ValueError if it is malformed."""
    if is_too_deep(_TOML_TEXT.sub("", text), _TOML_LEVELS):
        raise RequestError("too-deep", f"the TOML is nested too deep; it may have {_TOML_LEVELS} levels")
    return tomllib.loads(text)


def _pyproject(text: str) -> Iterable[Dependency]:
    content = _toml(text)
    project: dict[str, Any] = content.get("project", {})
    lines: list[object] = list(project.get("dependencies", []))
    for group in (*project.get("optional-dependencies", {}).values(), *content.get("dependency-groups", {}).values()):
        lines += group
    # An extra may name the project itself, and a group may include another one (PEP 735).
    own = project.get("name")
    yield from (found for line in lines if isinstance(line, str) for found in _requirements(line) if found[0] != own)
    poetry: dict[str, Any] = content.get("tool", {}).get("poetry", {})
    for table in (poetry, *poetry.get("group", {}).values()):
        yield from _table(table.get("dependencies", {}))


def _cargo(text: str) -> Iterable[Dependency]:
    content = _toml(text)
    for table in (content, content.get("workspace", {}), *content.get("target", {}).values()):
        for section in ("dependencies", "dev-dependencies", "build-dependencies"):
            yield from _table(table.get(section, {}))


def _table(table: dict[str, Any]) -> Iterable[Dependency]:
    """Yield the dependencies of a table that maps each name to its version, or to an object with a `version`."""
    for name, value in table.items():
        version = value.get("version", "") if isinstance(value, dict) else value
        yield name, version if isinstance(version, str) else ""


# A requirement of PEP 508 without its markers. Options, links and comments do not begin with a name.
_REQUIREMENT: Final = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*([^;#\\]*)")


def _requirements(text: str) -> Iterable[Dependency]:
    for line in text.splitlines():
        match = _REQUIREMENT.match(line.partition(" --")[0])
        if match is not None and "://" not in line:
            yield match[1], match[2].strip()


def _go_mod(text: str) -> Iterable[Dependency]:
    return re.findall(r"^\s*(?:require\s+)?([\w./~-]+\.[\w./~-]+)\s+(v[\w.+-]+)", text, re.MULTILINE)


def _gemfile(text: str) -> Iterable[Dependency]:
    return re.findall(r"""^\s*gem\s+['"]([^'"]+)['"](?:\s*,\s*['"]([^'"]+)['"])?""", text, re.MULTILINE)


def _dockerfile(text: str) -> Iterable[Dependency]:
    for image in re.findall(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", text, re.MULTILINE | re.IGNORECASE):
        # A colon before the last slash belongs to the registry's port.
        name, _, tag = image.rpartition("/")[2].partition(":")
        yield image[: len(image) - len(tag) - 1] if tag else image, tag if name else ""


_MAVEN: Final = "{http://maven.apache.org/POM/4.0.0}"


def _pom(text: str) -> Iterable[Dependency]:
    if "<!DOCTYPE" in text:  # Entities can expand a few bytes of XML to gigabytes, and Maven does not need them.
        return
    project = ElementTree.fromstring(text.replace(f'xmlns="{_MAVEN[1:-1]}"', ""))  # noqa: S314 - see above
    properties = {item.tag: (item.text or "").strip() for item in project.iterfind("properties/*")}
    for element in (*project.findall("parent"), *project.iter("dependency")):
        group, artifact, version = (element.findtext(part, "").strip() for part in ("groupId", "artifactId", "version"))
        known = re.sub(r"\$\{([^}]+)\}", lambda match: properties.get(match[1], match[0]), version)
        yield f"{group}:{artifact}", known


_READERS: Final[dict[str, Reader]] = {
    "package.json": _package_json,
    "pyproject.toml": _pyproject,
    "requirements*.txt": _requirements,
    "Cargo.toml": _cargo,
    "go.mod": _go_mod,
    "pom.xml": _pom,
    "Gemfile": _gemfile,
    "composer.json": _composer,
    "Dockerfile": _dockerfile,
}
