"""How a run went, and a table of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

COLUMNS: Final = ("server", "kind", "seed", "lost", "doubled", "silent", "wrong", "faults", "gaps", "needless", "late")
# A run that goes wrong does so a thousand times. So many of each kind are shown.
MOST_LINES: Final = 100


class Report(NamedTuple):
    """How it went. `lost`, `doubles`, `silent`, `faults` and `trouble` hold what must not be.

    Attributes:
        kind: What the run was, in a word.
        seed: Its seed.
        size: How large it was, in words.
        server: The Redis that it ran on, with its version.
        is_counted: Whether that server tells how many entries a stream ever had.
        lost: Outcomes that never came.
        doubles: Outcomes, and events of whole queues, that came twice.
        silent: Events of whole queues that did not come though no gap was told.
        faults: Whatever else clients were told and must not be.
        trouble: What was wrong with bridges and jobs.
        from_hash: Outcomes that came from a hash, not from a stream.
        repeated: Outcomes that came again, after a gap or since a stream has lost them.
        watched: What came of whole queues; see `Judgement.counts`.
        frames: What clients got, by kind.
        bridge: What the bridges counted.
        broken: What broke, and how often.
        seconds: How long all of it took.
        late: After the last fault, and its job's end, the last outcome came so many seconds later.
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
        """Everything that must not be. Where Redis does not count entries, a gap cannot always be told."""
        return [*self.lost, *self.doubles, *(self.silent if self.is_counted else ()), *self.faults, *self.trouble]

    @property
    def gaps(self) -> int:
        """How often a client was told that events may be missing, or a bridge found that."""
        return self.bridge["gaps"] + self.frames["gap frames"] + self.frames["gaps in acks"] + self.watched["gaps"]

    def __str__(self) -> str:
        """Some lines; the first one is the summary."""

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
        """The cells below `COLUMNS`."""
        bad = (len(self.lost), len(self.doubles), len(self.silent), len(self.faults) + len(self.trouble))
        counts = (self.seed, *bad, self.broken.total(), self.gaps, self.watched["needless"])
        return (self.server, self.kind, *map(str, counts), f"{self.late:.1f} s")


def table(reports: Iterable[Report]) -> str:
    """One line each, below the names of the columns."""
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
    """What a Redis calls itself, such as `Redis 7.0.15` or `Valkey 9.1.2`, and whether it counts streams' entries."""
    facts = redis.info("server")
    name = facts.get("server_name", "redis")
    is_counted = int(facts["redis_version"].split(".")[0]) >= 7
    return f"{name.capitalize()} {facts.get(f'{name}_version', facts['redis_version'])}", is_counted
