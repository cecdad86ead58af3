"""Where a line may live: the layers, held from the imports; and what each file may touch."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "jobws"


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


FILES = sorted(SOURCE.rglob("*.py"))
# Two layers as a whole, and whoever says so of itself.
PURE = [
    file
    for file in FILES
    if file.parent.name in ("protocol", "hub")
    or re.search(r"\bpure\b", ast.get_docstring(parsed(file)) or "", re.IGNORECASE)
]
# Layers that a layer may import; itself is understood.
ALLOWED = {
    "errors": set(),
    "protocol": {"errors"},
    "bullmq": {"errors", "protocol"},
    "hub": {"errors", "protocol", "bullmq"},
    "server": {"errors", "protocol", "bullmq", "hub", "logs"},
    "logs": {"errors", "protocol", "bullmq"},
    "client": {"errors", "protocol"},
    "sync": {"errors", "protocol", "client"},
    "watch": {"errors", "protocol", "client"},
    "follow": {"errors", "protocol", "client", "watch"},
    "embedded": {"errors"},
    "demo": {"errors", "protocol", "server", "client", "embedded", "watch", "follow", "logs"},
    "cli": {"errors", "protocol", "server", "client", "embedded", "watch", "follow", "demo"},
    "__main__": {"errors", "cli"},
    "__init__": set(),
}
IMPURE = {
    *("anyio", "trio", "asyncio", "redis", "starlette", "hypercorn", "socket", "ssl", "time", "datetime", "random"),
    *("os", "pathlib", "threading", "subprocess", "trio_websocket"),
}


@cache
def imports(file: Path) -> frozenset[str]:
    """The modules that a file imports, type checking included."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                found.add(node.module or "")
            case _:
                pass
    return frozenset(found)


def layer(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def name(file: Path) -> str:
    return str(file.relative_to(SOURCE))


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_layer_imports_only_what_lies_below(file: Path) -> None:
    own = layer(file.relative_to(SOURCE).parts)
    used = {module.split(".")[1] for module in imports(file) if module.startswith("jobws.")}
    assert used - {own} <= ALLOWED[own]


@pytest.mark.parametrize("file", PURE, ids=name)
def test_pure_files_touch_nothing(file: Path) -> None:
    assert not {module.split(".")[0] for module in imports(file)} & IMPURE
    assert not [node for node in ast.walk(parsed(file)) if isinstance(node, ast.AsyncFunctionDef)]


def test_what_is_pure_is_found() -> None:
    assert {"bullmq/job_lines.py", "bullmq/log_stream.py", "client/log_feed.py"} <= {name(file) for file in PURE}


def test_redis_is_touched_in_one_place() -> None:
    users = {name(file) for file in FILES if any(module.split(".")[0] == "redis" for module in imports(file))}
    # BullMQ's own package raises redis-py's errors, so who adds jobs must know them.
    assert users == {"bullmq/login.py", "bullmq/submit.py"}


def test_hypercorn_is_known_in_one_place() -> None:
    users = {name(file) for file in FILES if any(module.split(".")[0] == "hypercorn" for module in imports(file))}
    assert users == {"server/http1.py"}


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_file_holds_one_idea_and_says_which(file: Path) -> None:
    assert ast.get_docstring(parsed(file))
    assert file.read_text(encoding="utf-8").count("\n") <= 320
