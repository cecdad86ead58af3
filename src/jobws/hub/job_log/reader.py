"""Which lines of a job's log are new, from one look at its list to the next.

BullMQ tells of no line: `job.log()` is an RPUSH, and an LTRIM with `keepLogs`. As long as the lines that were read last
still stand where they stood, what follows them is new. Otherwise the list was trimmed or cleared, and they are searched
in it: of all places the one that explains the list with the fewest trimmed lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from jobws.protocol.job_line_position import MAX_TAIL, JobLinePosition, digest
from jobws.redis.batch_size import batch_size

if TYPE_CHECKING:
    from collections.abc import Sequence

# What one look asks for at most, and how much of what is there when a subscription begins: lines, and about as many
# bytes, judged by the lines that were seen before.
MAX_LINES: Final = 1000
MAX_BYTES: Final = 256 * 1024
# Nothing is known of their size yet.
FIRST_LINES: Final = 16
# The lines that are read again each time to see that they stand where they stood; at least one.
TAIL_BYTES: Final = 16 * 1024


class Slice(NamedTuple):
    """Which lines to ask for: `limit` from the place `start` on, or the last `limit` and how many there are (None)."""

    start: int | None
    limit: int


class Seen(NamedTuple):
    """The lines of a slice. `length` is how many there are in all, if that was asked."""

    lines: Sequence[bytes]
    length: int | None = None


class Batch(NamedTuple):
    """New lines. `first` is the number of the first one, `gap`: lines before it may be missing."""

    first: int
    lines: Sequence[bytes]
    gap: bool


class Step(NamedTuple):
    """What a look at the list yielded. `again`: there is more, so look again immediately."""

    reader: JobLineReader
    batch: Batch | None
    again: bool


class JobLineReader(Struct, frozen=True):
    """How far a list was read. Equal readers see the same, so one look serves all of them.

    `searching`: it is not known where in the list `position` is; `window` is how many lines to ask for.
    """

    position: JobLinePosition = JobLinePosition()
    window: int = FIRST_LINES
    searching: bool = True

    @classmethod
    def after(cls, position: JobLinePosition) -> JobLineReader:
        """A reader that goes on after `position`."""
        return cls(position, searching=not position.tail)

    @property
    def slice(self) -> Slice:
        """Which lines to ask for."""
        if self.searching:
            return Slice(None, self.window)
        tail = len(self.position.tail)
        return Slice(self._place - tail, tail + self.window)

    @property
    def _place(self) -> int:
        return self.position.end - self.position.gone

    def step(self, seen: Seen) -> Step:
        """What `seen`, the answer to `slice`, says."""
        if seen.length is not None:
            return self._search(seen.lines, seen.length)
        tail = self.position.tail
        if tuple(map(digest, seen.lines[: len(tail)])) != tail:
            return Step(replace(self, searching=True), None, again=True)
        return self._read(seen.lines, len(tail), self.position, gap=False, full=len(seen.lines) == self.slice.limit)

    def _search(self, lines: Sequence[bytes], length: int) -> Step:
        if not lines:
            return Step(JobLineReader(JobLinePosition(), self.window, searching=False), None, again=False)
        begin = length - len(lines)
        place = self._find(lines, begin, length)
        if place is None:
            if begin and (wider := _fitting(lines)) > self.window:
                return Step(replace(self, window=wider), None, again=True)
            return self._read(lines, 0, JobLinePosition(end=begin), gap=bool(self.position.tail), full=False)
        gone = self.position.gone + self._place - place
        return self._read(lines, place - begin, replace(self.position, gone=gone), gap=False, full=False)

    def _find(self, lines: Sequence[bytes], begin: int, length: int) -> int | None:
        """Where in the list `position` is now, if `lines` begin at `begin`. None: nowhere, as far as they reach."""
        tail = self.position.tail
        digests = [digest(line) for line in lines] if tail else []
        for place in range(min(self._place, length) if tail else 0, begin, -1):
            known = tail[-place:]  # what lay before them was trimmed
            offset = place - begin
            # What was not asked for equals nothing: a slice that begins before `digests` is empty.
            if tuple(digests[offset - len(known) : offset]) == known:
                return place
        return None

    def _read(self, lines: Sequence[bytes], old: int, position: JobLinePosition, *, gap: bool, full: bool) -> Step:
        """Take over `lines` after the first `old`, which end at `position`."""
        window = _fitting(lines) if lines else self.window
        if old == len(lines):
            known = replace(position, tail=_tail(lines))  # some of it may have been trimmed
            return Step(JobLineReader(known, self.window, searching=False), None, again=False)
        end, size = old, 0
        while end < len(lines) and (end == old or size + len(lines[end]) <= MAX_BYTES):
            size += len(lines[end])
            end += 1
        after = JobLinePosition(position.end + end - old, position.gone, _tail(lines[:end]))
        reader = JobLineReader(after, window, searching=False)
        return Step(reader, Batch(position.end, lines[old:end], gap), again=full or end < len(lines))


def _tail(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """The digests of the last lines."""
    tail: list[bytes] = []
    size = 0
    for line in reversed(lines[-MAX_TAIL:]):
        size += len(line)
        if tail and size > TAIL_BYTES:
            break
        tail.append(digest(line))
    return tuple(reversed(tail))


def _fitting(lines: Sequence[bytes]) -> int:
    """How many lines of that size may be asked for together; never less than a search needs."""
    size = sum(map(len, lines))
    return batch_size(len(lines), size, wanted_bytes=MAX_BYTES, most=MAX_LINES, least=FIRST_LINES)
