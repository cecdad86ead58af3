"""Tries whether tests find a mutant. They run in a process of its own: those that run its line, the quickest first.

The process is forked from one that has imported what the tests need, but nothing of the hub. So it takes only as long
as its tests.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import sys
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.connection import wait
from signal import SIGKILL, SIGXCPU
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import coverage
import pytest
from hypothesis import HealthCheck, Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from tests.mutants.mutations import Mutant

TESTS: Final = ("tests/hub", "tests/protocol", "tests/conformance/test_core.py")
PACKAGE: Final = "jobws.hub"
# How many random runs the test of returning clients does in each part: to measure which lines it runs, and to find
# mutants.
MEASURED_SEEDS: Final = 20
TRIED_SEEDS: Final = 200
# A mutant that takes so many times as long as its tests took without it counts as one that does not end.
PATIENCE: Final = 10
LEAST_SECONDS: Final = 30
MEMORY_BYTES: Final = 3 << 30

_processes = multiprocessing.get_context("fork")


class Baseline(NamedTuple):
    """What the tests run without a fault.

    Attributes:
        seconds: How long each test takes.
        lines: By file and line, the tests that run it.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[int, set[str]]]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that may find the mutant, the quickest first."""
        lines = self.lines.get(str(mutant.file), {})
        here = (
            lines.values() if mutant.is_import else (lines.get(n, set()) for n in range(mutant.first, mutant.last + 1))
        )
        return sorted(set().union(*here), key=lambda test: self.seconds[test])


class Trial(NamedTuple):
    """A mutant, and the test that found it; empty if none did."""

    mutant: Mutant
    found_by: str


def preload() -> None:
    """Import everything that is the same for all mutants."""
    for name in ("trio", "anyio", "tests.support.parallel", "tests.support.servers", "tests.support.redis"):
        importlib.import_module(name)
    assert not any(name.startswith(PACKAGE) for name in sys.modules), "what mutates must be imported later"
    settings.register_profile(
        "mutants",
        deadline=None,
        suppress_health_check=list(HealthCheck),
        max_examples=25,
        database=None,
        derandomize=True,
        # Failing examples are not made smaller, since no one reads them.
        phases=(Phase.explicit, Phase.generate),
    )


def measure() -> Baseline:
    """Run all tests without a fault, and measure them.

    Raises:
        RuntimeError: A test fails without a mutant.
    """
    receiver, sender = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_measure, args=(sender,))
    process.start()
    sender.close()
    try:
        baseline: Baseline = receiver.recv()
    except EOFError:
        raise RuntimeError("the tests fail without a mutant: see above") from None
    finally:
        process.join()
    return baseline


def try_all(mutants: Sequence[Mutant], baseline: Baseline, processes: int) -> Iterator[Trial]:
    """Try mutants in so many processes. Yield results in the order in which they come."""
    waiting = list(reversed(mutants))
    running: list[_Running] = []
    while waiting or running:
        while waiting and len(running) < processes:
            mutant = waiting.pop()
            tests = baseline.tests_of(mutant)
            if tests:
                running.append(_start(mutant, tests, sum(baseline.seconds[test] for test in tests)))
            else:
                yield Trial(mutant, "")
        ready = wait([each.receiver for each in running], timeout=1) if running else []
        for each in list(running):
            if each.receiver in ready:
                running.remove(each)
                yield Trial(each.mutant, _result(each))
            elif monotonic() > each.until:
                each.process.kill()


class _Running(NamedTuple):
    mutant: Mutant
    receiver: Connection
    process: multiprocessing.process.BaseProcess
    until: float


def _start(mutant: Mutant, tests: list[str], measured_seconds: float) -> _Running:
    seconds = int(LEAST_SECONDS + PATIENCE * measured_seconds)
    receiver, sender = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_try, args=(mutant, tests, seconds, sender))
    process.start()
    sender.close()
    # Also limit the time on the clock, since a process that waits uses no CPU.
    return _Running(mutant, receiver, process, monotonic() + 4 * seconds)


def _result(of: _Running) -> str:
    try:
        found_by: str = of.receiver.recv()
    except EOFError:
        found_by = "it does not end"
    of.process.join()
    if of.process.exitcode not in (0, -SIGXCPU, -SIGKILL):
        raise RuntimeError(f"{of.mutant.file}:{of.mutant.line}: {of.mutant.change}: exit code {of.process.exitcode}")
    return found_by


# ---- in the process of its own ----


class _Chosen:
    """Lets pytest run these tests in this order, and notes which one fails first."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {test: number for number, test in enumerate(tests)}
        self.failed = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (each for each in items if each.nodeid in self._order), key=lambda each: self._order[each.nodeid]
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed = self.failed or f"importing {report.nodeid}"


class _Noted:
    """Notes which lines each test runs, and how long it takes."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        begun = monotonic()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = monotonic() - begun
            self._measured.switch_context("")


def _import(mutant: Mutant) -> None:
    """Import the file with the fault, so that tests use it instead of the real one."""
    parts = mutant.file.with_suffix("").parts
    name = ".".join(parts[parts.index("jobws") :])
    spec = spec_from_file_location(name, mutant.file)
    assert spec is not None
    module = sys.modules[name] = module_from_spec(spec)
    exec(compile(mutant.source, mutant.file, "exec", dont_inherit=True), vars(module))


def _run(paths: Iterable[str], *options: str, seeds: int, plugins: list[object]) -> int:
    os.environ["JOBWS_SEEDS"] = str(seeds)
    base = ("-q", "--hypothesis-profile=mutants", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    return int(pytest.main([*base, *options, *paths], plugins=plugins))


def _measure(sender: Connection) -> None:
    os.environ["COVERAGE_CORE"] = "ctrace"  # other cores do not record every test that runs a line
    measured = coverage.Coverage(data_file=None, config_file=False, source_pkgs=[PACKAGE])
    measured.start()
    noted = _Noted(measured)
    code = _run(TESTS, seeds=MEASURED_SEEDS, plugins=[noted])
    measured.stop()
    if code:
        return
    data = measured.get_data()
    lines = {
        path: {line: set(tests) - {""} for line, tests in data.contexts_by_lineno(path).items()}
        for path in data.measured_files()
    }
    sender.send(Baseline(noted.seconds, lines))


def _try(mutant: Mutant, tests: Sequence[str], seconds: int, sender: Connection) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        _import(mutant)
    except Exception:  # noqa: BLE001 - whatever it is, it was found
        sender.send("importing it")
        return
    chosen = _Chosen(tests)
    paths = dict.fromkeys(test.partition("::")[0] for test in tests)
    code = _run(paths, "--maxfail=1", "--tb=no", seeds=TRIED_SEEDS, plugins=[chosen])
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED), code
    sender.send(chosen.failed if code else "")
