"""Which faults are put into a file, and which test is tried first."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.mutants.mutations import mutants_of
from tests.mutants.trials import Baseline

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '''"""Text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from x import Y

LIMIT = 5 << 2
PAIR = (f(1), True)


class A:
    """More text."""

    __slots__ = ("a",)

    def __init__(self, a: int = 0) -> None:
        """Yet more."""
        self.a = a

    def f(self, x: list[int]) -> int | None:
        for each in x:
            if not each or (self.a < each and
                    x):
                continue
            self.a += f(each, "ä") - max(1, *x)
        return self.b or ""
'''


def test_each_fault_is_a_small_one(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(SOURCE, encoding="utf-8")
    mutants = mutants_of(file)
    for mutant in mutants:
        ast.parse(mutant.source)
        assert mutant.source != file.read_bytes()
    assert {(mutant.line, mutant.is_import, mutant.change[1]) for mutant in mutants} == {
        (11, True, "PAIR = (f(2), True)"),
        (11, True, "PAIR = (f(1), False)"),
        (19, True, "def __init__(self, a: int = 1) -> None:"),
        (21, False, "pass"),
        (25, False, "if (not (not each or (self.a < each and x))):"),
        (25, False, "if (each) or (self.a < each and"),
        (25, False, "if (self.a < each and x) or (self.a < each and"),
        (25, False, "if not each and (self.a < each and"),
        (25, False, "if not each or ((not each)):"),
        (25, False, "if not each or (self.a <= each and"),
        (25, False, "if not each or (self.a >= each and"),
        (25, False, "if not each or ((x) and"),
        (25, False, "if not each or (self.a < each or"),
        (26, False, "(self.a < each)):"),
        (27, False, "break"),
        (28, False, "pass"),
        (28, False, 'self.a -= f(each, "ä") - max(1, *x)'),
        (28, False, 'self.a += f("ä", each) - max(1, *x)'),
        (28, False, 'self.a += f(each, "ä") + max(1, *x)'),
        (28, False, 'self.a += f(each, "ä") - min(1, *x)'),
        (28, False, 'self.a += f(each, "ä") - max(2, *x)'),
        (29, False, "return None"),
    }


def test_the_quickest_test_that_runs_the_line_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(SOURCE, encoding="utf-8")
    lines = {11: set[str](), 19: set[str](), 21: {"quick"}, 25: {"slow"}, 26: {"quick"}, 28: {"other", "slow"}}
    baseline = Baseline({"quick": 1.0, "other": 2.0, "slow": 3.0}, {str(file): lines})
    tests = {mutant.line: baseline.tests_of(mutant) for mutant in mutants_of(file)}
    assert tests == {
        11: ["quick", "other", "slow"],
        19: ["quick", "other", "slow"],
        21: ["quick"],
        25: ["quick", "slow"],
        26: ["quick", "slow"],
        27: [],
        28: ["other", "slow"],
        29: [],
    }
