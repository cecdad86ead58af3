"""The report of a run, and a table of several reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

COLUMNS: Final = ("server", "kind", "seed", "lost", "doubled", "silent", "wrong", "faults", "gaps", "needless", "late")
# How many lines of each kind are shown, since a run that goes wrong does so a thousand times.
MOST_LINES: Final = 100


class Report(NamedTuple):
    """How a run went. `lost`, `doubles`, `silent`, `faults` and `trouble` must be empty.

    Attributes:
        kind: The kind of run, in one word.
        seed: The seed of its random numbers.
        size: How many jobs, clients and watchers it had, in words.
        server: The Redis that it ran on, with its version.
        is_counted: Whether this server counts how many entries were ever added to a stream.
        lost: Outcomes that never came.
        doubles: Outcomes, and events of whole queues, that came twice.
        silent: Events of whole queues that did not come, although no `gap` reported them.
        faults: Everything else that clients got and must not get.
        trouble: What went wrong with bridges and jobs.
        from_hash: How many outcomes came from a hash, not from a stream.
        repeated: How many outcomes came again for a reason: after a gap, or from a hash.
        watched: What came of whole queues; see `counts` of `Judgement`.
        frames: How many frames of each kind clients got.
        bridge: The bridges' metrics.
        broken: How often each thing broke.
        seconds: How long the run took.
        late: How many seconds after the last fault, or after the end of its job if that was later, the latest outcome
            came.
    """

    kind: str
    seed: int
    size: str
    server: str
    is_counted: bool
    lost: list[str]
    doubles: list[str]
    silent: list[str]
    faults: list[str]
    trouble: list[str]
    from_hash: int
    repeated: int
    watched: Counter[str]
    frames: Counter[str]
    bridge: Counter[str]
    broken: Counter[str]
    seconds: float
    late: float

    @property
    def wrong(self) -> list[str]:
        """Return a sentence for everything that must not happen.

        Events of whole queues may be lost without a gap if Redis does not count entries.
        """
        return [*self.lost, *self.doubles, *(self.silent if self.is_counted else ()), *self.faults, *self.trouble]

    @property
    def gaps(self) -> int:
        """How often a client got a `gap`, or a bridge found that entries were lost."""
        return self.bridge["gaps"] + self.frames["gap frames"] + self.frames["gaps in acks"] + self.watched["gaps"]

    def __str__(self) -> str:
        """Return the report as text. The first line is a summary."""

        def listed(counts: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

        lines = [
            f"{self.server}, {self.kind}, seed {self.seed}: {self.size}, {self.seconds:.0f} s; lost {len(self.lost)}, "
            f"doubled {len(self.doubles)}, silent gaps {len(self.silent)}, "
            f"wrong {len(self.faults) + len(self.trouble)}, late {self.late:.1f} s",
            f"  outcomes from hashes {self.from_hash}, told again after a gap {self.repeated}",
            f"  what broke: {listed(self.broken)}",
            *([f"  whole queues: {listed(self.watched)}"] if self.watched else []),
            f"  frames: {listed(self.frames)}",
            f"  the bridges counted: {listed(self.bridge)}",
        ]
        wrong = (self.lost, self.doubles, self.silent, self.faults, self.trouble)
        return "\n".join([*lines, *(f"  ! {line}" for each in wrong for line in each[:MOST_LINES])])

    def row(self) -> tuple[str, ...]:
        """Return the cells of this report in a table with the columns `COLUMNS`."""
        bad = (len(self.lost), len(self.doubles), len(self.silent), len(self.faults) + len(self.trouble))
        counts = (self.seed, *bad, self.broken.total(), self.gaps, self.watched["needless"])
        return (self.server, self.kind, *map(str, counts), f"{self.late:.1f} s")


def table(reports: Iterable[Report]) -> str:
    """Return a table with one line for each report."""
    rows = [COLUMNS, *(report.row() for report in reports)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def describe(redis: Any) -> tuple[str, bool]:
    """Return a server's name and version, such as `Valkey 9.1.2`, and whether it counts the entries of streams."""
    facts = redis.info("server")
    name = facts.get("server_name", "redis")
    is_counted = int(facts["redis_version"].split(".")[0]) >= 7
    return f"{name.capitalize()} {facts.get(f'{name}_version', facts['redis_version'])}", is_counted
