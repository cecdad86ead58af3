"""The layers: which file may import which, and which file may use sockets, clocks and certain packages."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "jobws"


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


FILES = sorted(SOURCE.rglob("*.py"))
# Three whole layers, and the files whose docstring says so.
PURE = [
    file
    for file in FILES
    if file.relative_to(SOURCE).parts[0] in ("protocol", "hub", "access", "privacy")
    or re.search(r"\bpure\b", file.read_text(encoding="utf-8").partition('"""\n')[0], re.IGNORECASE)
]
BASE = {"errors", "protocol", "protocol.log"}
REDIS = {"redis", "bullmq", "bullmq.reading"}
HUB = {"hub", "hub.jobs", "hub.job_log", "hub.log"}
# What a layer may import, besides itself. A file belongs to the layer with the longest name that fits.
ALLOWED = {
    "errors": set(),
    "turn": set(),
    "protocol": {"errors", "protocol.log"},
    "protocol.log": {"errors", "protocol"},
    "tokens": set(),
    "access": {*BASE, "tokens"},
    "privacy": BASE,
    "redis": BASE,
    "bullmq": {*BASE, "privacy", "redis"},
    "bullmq.reading": {*BASE, "redis", "bullmq", "turn"},
    "hub": {*BASE, "access"},
    # A follower of a job's lines is a subscription, and the events of that subscription wait for its lines.
    "hub.jobs": {*BASE, "access", "privacy", "redis", "bullmq", "hub", "hub.job_log"},
    "hub.job_log": {*BASE, "redis", "bullmq", "hub", "hub.jobs"},
    "hub.log": {*BASE, "access", "privacy", "redis", "hub"},
    "logs": {*BASE, "redis"},
    "server.origins": {"errors"},
    "server.settings": {*BASE, "bullmq", "server.origins", "server.token_settings"},
    "server.token_settings": {"errors", "server.settings"},
    "server.authentication": {*BASE, "access"},
    "server.judging": {"access"},
    "server.intervals": {"bullmq.reading"},
    "server.auto_reset_event": set(),
    "server.fair_turns": {"turn"},
    "server.response_headers": set(),
    "server.tasks": {"server.supervisor"},
    "server.supervisor": {"redis"},
    "server.transport": {
        "turn",
        "server.fair_turns",
        "server.settings",
        "server.http.problems",
        "server.response_headers",
    },
    "server.websocket": {
        *BASE,
        "access",
        *HUB,
        "server.settings",
        "server.authentication",
        "server.judging",
        "server.fair_turns",
        "server.tasks",
        "server.transport",
    },
    "server.jobs": {
        *(*BASE, *REDIS, *HUB, "turn", "access", "privacy"),
        *(
            "server.settings",
            "server.authentication",
            "server.auto_reset_event",
            "server.fair_turns",
            "server.tasks",
            "server.supervisor",
            "server.websocket",
        ),
    },
    "server.log": {
        *(*BASE, *REDIS, *HUB, "turn", "access", "privacy"),
        *(
            "server.settings",
            "server.authentication",
            "server.auto_reset_event",
            "server.fair_turns",
            "server.tasks",
            "server.websocket",
            "server.jobs",
        ),
    },
    "server.http.problems": BASE,
    "server.http": {
        *(*BASE, "bullmq", "hub.jobs", "turn", "access", "privacy", "tokens"),
        *("server.settings", "server.authentication", "server.intervals", "server.tasks", "server.http.problems"),
        "server.judging",
        *("server.websocket", "server.jobs", "server.log"),
    },
    "server": {
        *(
            *BASE,
            *REDIS,
            *HUB,
            "access",
            "privacy",
            "tokens",
            "turn",
            "logs",
            "server.authentication",
            "server.auto_reset_event",
            "server.fair_turns",
            "server.response_headers",
            "server.settings",
            "server.origins",
            "server.intervals",
            "server.tasks",
            "server.transport",
        ),
        *("server.websocket", "server.jobs", "server.log", "server.http", "server.http.problems"),
    },
    "client.frames": BASE,
    "client.connection": {*BASE, "client.frames"},
    "client.jobs": {*BASE, "client.frames", "client.connection"},
    "client.log": {*BASE, "client.frames", "client.connection"},
    "client": {*BASE, "client.frames", "client.connection", "client.jobs", "client.log"},
    "sync": {*BASE, "client", "client.frames", "client.connection", "client.log"},
    "cli.watch": {*BASE, "client", "client.connection"},
    "cli.follow": {*BASE, "client", "client.connection", "cli.watch"},
    "embedded": {"errors"},
    "demo": {*BASE, "server", "server.settings", "client", "embedded", "cli.watch", "cli.follow", "logs"},
    "cli.token": {*BASE, "access", "tokens", "cli"},
    "cli": {*BASE, "cli.token", "server", "server.settings", "client", "embedded", "cli.watch", "cli.follow", "demo"},
    "__main__": {"errors", "cli"},
    "__init__": set(),
}
# The fields of a statement that contain statements. Expressions cannot import.
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
IMPURE = {
    *("anyio", "trio", "asyncio", "redis", "starlette", "hypercorn", "socket", "ssl", "time", "datetime", "random"),
    *("os", "pathlib", "threading", "subprocess", "trio_websocket"),
}


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(("jobws", *(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)))


MODULES = {module_of(file): file for file in FILES}


@cache
def imports(file: Path, *, at_run_time: bool = False) -> frozenset[str]:
    """Return the modules that a file imports.

    `at_run_time` means only those without which the file itself cannot be imported.
    """
    found: set[str] = set()
    waiting: list[ast.AST] = [parsed(file)]
    while waiting:
        node = waiting.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.FunctionDef() | ast.AsyncFunctionDef() if at_run_time:
                continue
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                module = node.module or ""
                each = {f"{module}.{alias.name}" for alias in node.names}
                found |= each & MODULES.keys()
                if each - MODULES.keys():
                    found.add(module)
            case _:
                pass
        waiting += [each for block in BLOCKS for each in getattr(node, block, ())]
    return frozenset(found)


def layer(module: str) -> str:
    """Return the layer of a module of jobws."""
    parts = module.split(".")[1:] or ["__init__"]
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(name for name in names if name in ALLOWED)


def name(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def test_a_layer_imports_only_what_lies_below() -> None:
    above = {}
    for module, file in MODULES.items():
        own = layer(module)
        used = {layer(each) for each in imports(file) if each.split(".")[0] == "jobws"}
        if too_much := used - {own, "__init__"} - ALLOWED[own]:
            above[name(file)] = too_much
    assert not above


def test_what_is_imported_is_seen_however_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "each.py"
    file.write_text(
        "import jobws.turn\nfrom jobws import sync\nfrom jobws.server import settings, Bridge\n"
        "if TYPE_CHECKING:\n    from jobws.errors import JobwsError\ndef late():\n    import time\n"
    )
    now = {"jobws.turn", "jobws.sync", "jobws.server.settings", "jobws.server"}
    assert imports(file, at_run_time=True) == now
    assert imports(file) == {*now, "jobws.errors", "time"}


def test_no_imports_go_in_a_circle() -> None:
    left = {module: imports(file, at_run_time=True) & MODULES.keys() - {module} for module, file in MODULES.items()}
    while free := [module for module, used in left.items() if not used & left.keys()]:
        for module in free:
            del left[module]
    assert not left


def test_pure_files_touch_nothing() -> None:
    imported = {name(file): {module.split(".")[0] for module in imports(file)} & IMPURE for file in PURE}
    assert not {file: modules for file, modules in imported.items() if modules}
    nodes = ((file, node) for file in PURE for node in ast.walk(parsed(file)))
    assert not [f"{name(file)}:{node.lineno}" for file, node in nodes if isinstance(node, ast.AsyncFunctionDef)]


def test_what_is_pure_is_found() -> None:
    assert {"bullmq/job_log.py", "redis/log_stream.py", "client/log/feed.py"} <= {name(file) for file in PURE}


def test_tokens_are_made_with_the_standard_library_only() -> None:
    used = {module.split(".")[0] for module in imports(SOURCE / "tokens.py")}
    assert used - {"__future__"} <= sys.stdlib_module_names


def test_redis_is_touched_in_one_place() -> None:
    users = {name(file) for file in FILES if any(module.split(".")[0] == "redis" for module in imports(file))}
    # BullMQ's own package raises redis-py's errors, so code that calls it must import them.
    assert users == {"redis/login.py", "bullmq/package.py", "bullmq/actions.py"}


def test_hypercorn_is_known_in_one_place() -> None:
    users = {name(file) for file in FILES if any(module.split(".")[0] == "hypercorn" for module in imports(file))}
    assert users == {"server/transport/http1.py"}


def test_a_file_says_which_idea_it_holds() -> None:
    assert not [name(file) for file in FILES if not ast.get_docstring(parsed(file))]


def test_a_file_is_read_in_one_go() -> None:
    files = [*FILES, *(SOURCE / "web" / "src").rglob("*.js")]
    assert not [name(file) for file in files if file.read_text(encoding="utf-8").count("\n") >= 300]


@pytest.mark.parametrize(
    ("folder", "names", "lines"),
    [
        # Of the client, the first is all that is about jobs and the log, and the last one is what whole queues add.
        ("client", ["**/*.py", "!jobs/whole_queues.py"], 1950),
        ("client/jobs", ["subscription.py", "subscriptions.py", "places.py", "iterators.py"], 500),
        ("client/jobs", ["whole_queues.py"], 120),
        (
            "web/src",
            ["connection.js", "websocket.js", "loading.js", "subscription.js", "subscriptions.js"],
            450,
        ),
    ],
)
def test_a_client_is_thin(folder: str, names: list[str], lines: int) -> None:
    """Its size is a promise: anyone can read a client in an hour. CHANGELOG.md has the present numbers of lines."""
    without = {file for name in names if name[0] == "!" for file in (SOURCE / folder).glob(name[1:])}
    files = {file for name in names for file in (SOURCE / folder).glob(name)} - without
    assert len(files) + len(without) >= len(names)
    assert sum(file.read_text(encoding="utf-8").count("\n") for file in files) <= lines


def test_each_package_says_what_lives_there() -> None:
    packages = {file.parent for file in FILES}
    assert not [str(package) for package in packages if not (package / "__init__.py").exists()]


def test_no_test_imports_from_another() -> None:
    """What several tests use is in a module of its own, in tests/support or beside them."""
    importing = re.compile(r"^\s*(from|import)\s+tests(\.\w+)*\.test_", re.MULTILINE)
    tests = sorted(Path(__file__).parent.rglob("*.py"))
    assert not [file for file in tests if importing.search(file.read_text(encoding="utf-8"))]
