"""Puts faults into the hub, one at a time, and tries whether its pure tests find them.

Faults that no test finds are printed. equivalents.toml lists, with reasons, faults that no test can find, since they
change nothing that is promised.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final, NamedTuple

from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.trials import measure, preload, try_all

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "jobws" / "hub"
LEAST_FOUND: Final = 0.9


class Equivalent(NamedTuple):
    """An entry of equivalents.toml: a file in hub/, a line, and this line with the fault; None means any fault."""

    file: str
    line: str
    mutant: str | None

    def is_one(self, mutant: Mutant) -> bool:
        """Whether this entry is about the mutant."""
        if mutant.file.relative_to(PACKAGE).as_posix() != self.file:
            return False
        line, changed = mutant.change
        return self.line == line and self.mutant in (None, changed)


def equivalents() -> list[Equivalent]:
    """Return the entries of equivalents.toml. Each one has a reason, which is for people."""
    listed = tomllib.loads((Path(__file__).parent / "equivalents.toml").read_text(encoding="utf-8"))
    return [
        Equivalent(each["file"], each["line"], each.get("mutant")) for each in listed["equivalent"] if each["reason"]
    ]


def main() -> int:
    """Try mutants, and return the exit code: 1 if too few are found, or if the list names a line that does not
    exist.
    """
    parser = argparse.ArgumentParser(prog="make mutate ARGS=…", description=__doc__)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)), help="chooses which; printed")
    parser.add_argument("--mutants", type=int, default=300, help="how many; 0: all")
    parser.add_argument("--file", action="append", help="only of this file, such as jobs/query.py; may be repeated")
    parser.add_argument("--processes", type=int, default=2, help="how many are tried beside each other")
    asked = parser.parse_args()

    everything = [mutant for file in sorted(PACKAGE.rglob("*.py")) for mutant in mutants_of(file)]
    listed = {each: next(filter(each.is_one, everything), None) for each in equivalents()}
    stale = [each for each, mutant in listed.items() if mutant is None]
    for each in stale:
        print(f"equivalents.toml names what is not there: {each}")
    there = [each for each in everything if not asked.file or each.file.relative_to(PACKAGE).as_posix() in asked.file]
    drawn = Random(asked.seed).sample(there, min(asked.mutants or len(there), len(there)))
    tried = [mutant for mutant in drawn if not any(each.is_one(mutant) for each in listed)]
    print(
        f"seed {asked.seed}: {len(drawn)} mutants of {len(there)}, {len(drawn) - len(tried)} are listed as equivalent",
        flush=True,
    )

    begun = monotonic()
    preload()
    baseline = measure()
    print(f"{len(baseline.seconds)} tests take {monotonic() - begun:.0f} s without a fault", flush=True)
    lived = 0
    for number, trial in enumerate(try_all(tried, baseline, asked.processes), 1):
        if not trial.found_by:
            lived += 1
            line, changed = trial.mutant.change
            print(f"{trial.mutant.file.relative_to(ROOT)}:{trial.mutant.line} lives\n    - {line}\n    + {changed}")
        if not number % 20:
            print(f"  {number} tried, {lived} live, {monotonic() - begun:.0f} s", flush=True)
    found = 1 - lived / len(tried) if tried else 1.0
    print(f"seed {asked.seed}: {len(tried) - lived} of {len(tried)} found ({found:.1%}), {monotonic() - begun:.0f} s")
    return int(found < LEAST_FOUND or bool(stale))


if __name__ == "__main__":
    sys.exit(main())
