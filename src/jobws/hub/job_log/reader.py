"""Finds the new lines of a job's log, each time the list is read.

BullMQ writes no event for a line: `job.log()` is an RPUSH, followed by an LTRIM if `keepLogs` is set. If the lines that
were read last are still at their place in the list, the lines after them are new. Otherwise the list was trimmed or
cleared. Then the lines that were read last are searched for in the list. If they are found at several places, the place
that means the fewest trimmed lines counts. If they are found nowhere, all lines of the list count as new, and lines may
be missing before them. Of a long list, these are only the last lines (see MAX_LINES).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from jobws.protocol.job_log_position import MAX_TAIL, JobLogPosition, digest
from jobws.redis.batch_size import batch_size

if TYPE_CHECKING:
    from collections.abc import Sequence

# The limits of one read: lines, and about as many bytes, estimated from the lines that were read before. Of the lines
# that are there when a subscription begins, it gets only the last ones within these limits.
MAX_LINES: Final = 1000
MAX_BYTES: Final = 256 * 1024
# How many lines the first read asks for, before the size of the lines is known.
FIRST_LINES: Final = 16
# How many bytes of the lines that were read last (at least one line) are read again each time, to check their place.
TAIL_BYTES: Final = 16 * 1024


class Slice(NamedTuple):
    """The lines to ask for: `limit` lines from the index `start` on.

    If `start` is None: the last `limit` lines, and the length of the list.
    """

    start: int | None
    limit: int


class ReadLines(NamedTuple):
    """The lines of a slice, and the length of the list if `Slice.start` was None."""

    lines: Sequence[bytes]
    length: int | None = None


class Batch(NamedTuple):
    """New lines. `gap` says whether lines before them may be missing.

    `first` is the number of the first one: how many lines came before it since the list began, as far as jobws knows.
    """

    first: int
    lines: Sequence[bytes]
    gap: bool


class ReadResult(NamedTuple):
    """The result of one read of the list.

    Attributes:
        reader: The reader for the next read.
        batch: The new lines. None means that there are none.
        again: Whether the list is to be read again immediately, since there may be more lines.
    """

    reader: JobLogReader
    batch: Batch | None
    again: bool


class JobLogReader(Struct, frozen=True):
    """How far a job's log was read. Equal readers find the same lines, so one read of the list serves all of them.

    Attributes:
        position: The position after the last line that was read.
        window: How many new lines to ask for. If `searching`: how many lines from the end of the list.
        searching: Whether the place of the next new line in the list is unknown: nothing was read yet, or the lines
            that were read last are no longer at their place. The next read then asks for the last lines of the list,
            and searches them for the lines that were read last. If nothing was read yet, all lines are new.
    """

    position: JobLogPosition = JobLogPosition()
    window: int = FIRST_LINES
    searching: bool = True

    @classmethod
    def after(cls, position: JobLogPosition) -> JobLogReader:
        """Return a reader that continues after `position`."""
        return cls(position, searching=not position.tail)

    @property
    def slice(self) -> Slice:
        """The lines to ask for in the next read."""
        if self.searching:
            return Slice(None, self.window)
        tail = len(self.position.tail)
        return Slice(self._place - tail, tail + self.window)

    @property
    def _place(self) -> int:
        return self.position.end - self.position.gone

    def result_of(self, read: ReadLines) -> ReadResult:
        """Return the result of a read; `read` has the lines of `slice`."""
        if read.length is not None:
            return self._search(read.lines, read.length)
        tail = self.position.tail
        if tuple(map(digest, read.lines[: len(tail)])) != tail:
            return ReadResult(replace(self, searching=True), None, again=True)
        return self._read(read.lines, len(tail), self.position, gap=False, full=len(read.lines) == self.slice.limit)

    def _search(self, lines: Sequence[bytes], length: int) -> ReadResult:
        if not lines:
            return ReadResult(JobLogReader(JobLogPosition(), self.window, searching=False), None, again=False)
        begin = length - len(lines)
        place = self._find(lines, begin, length)
        if place is None:
            if begin and (wider := _fitting(lines)) > self.window:
                return ReadResult(replace(self, window=wider), None, again=True)
            return self._read(lines, 0, JobLogPosition(end=begin), gap=bool(self.position.tail), full=False)
        gone = self.position.gone + self._place - place
        return self._read(lines, place - begin, replace(self.position, gone=gone), gap=False, full=False)

    def _find(self, lines: Sequence[bytes], begin: int, length: int) -> int | None:
        """Return the index in the list just after the lines that were read last; None if `lines` do not have them.

        `lines` begin at the index `begin` of the list, which has `length` lines.
        """
        tail = self.position.tail
        digests = [digest(line) for line in lines] if tail else []
        for place in range(min(self._place, length) if tail else 0, begin, -1):
            known = tail[-place:]  # the lines before these were trimmed
            offset = place - begin
            # If the lines that were read last begin before `lines`, the slice is empty and does not match.
            if tuple(digests[offset - len(known) : offset]) == known:
                return place
        return None

    def _read(self, lines: Sequence[bytes], old: int, position: JobLogPosition, *, gap: bool, full: bool) -> ReadResult:
        """Return the result for `lines`. The first `old` of them were read before, and end at `position`.

        `gap` says that lines before the new ones may be missing, and `full` that the list may have more lines.
        """
        window = _fitting(lines) if lines else self.window
        if old == len(lines):
            known = replace(position, tail=_tail(lines))  # some lines of the old tail may have been trimmed
            return ReadResult(JobLogReader(known, self.window, searching=False), None, again=False)
        end, size = old, 0
        while end < len(lines) and (end == old or size + len(lines[end]) <= MAX_BYTES):
            size += len(lines[end])
            end += 1
        after = JobLogPosition(position.end + end - old, position.gone, _tail(lines[:end]))
        reader = JobLogReader(after, window, searching=False)
        return ReadResult(reader, Batch(position.end, lines[old:end], gap), again=full or end < len(lines))


def _tail(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the digests of the last lines: up to MAX_TAIL lines with up to TAIL_BYTES together, but at least one."""
    tail: list[bytes] = []
    size = 0
    for line in reversed(lines[-MAX_TAIL:]):
        size += len(line)
        if tail and size > TAIL_BYTES:
            break
        tail.append(digest(line))
    return tuple(reversed(tail))


def _fitting(lines: Sequence[bytes]) -> int:
    """Return how many lines have about MAX_BYTES together, if they are as long as `lines` on average.

    The result is at least FIRST_LINES and at most MAX_LINES. `lines` must not be empty.
    """
    size = sum(map(len, lines))
    return batch_size(len(lines), size, wanted_bytes=MAX_BYTES, most=MAX_LINES, least=FIRST_LINES)
