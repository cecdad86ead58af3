"""A line of the log that many clients get. Its frame and the results of searches are made once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from jobws.privacy.paths import REDACTED
from jobws.protocol.log.records import OWN_SOURCE, from_entry, log_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobws.privacy.rules import Privacy
    from jobws.protocol.codec import Frame
    from jobws.protocol.log.requests import LogFilter
    from jobws.redis.commands import Entry

# How long one synchronous step that searches lines or passes them on may take. Job events wait meanwhile.
MAX_SECONDS: Final = 0.0002


class Line:
    """An entry of the log stream, with its frame and the results of searches in its message.

    Args:
        entry: The entry.
        privacy: Says which lines have `[redacted]` as their message, and no fields. So the message cannot be searched.
            The bridge's own lines, such as those about actions, hold nothing that a job holds, and stay as they are.

    Attributes:
        id: The stream id.
        record: The contents.
    """

    __slots__ = ("_frame", "_holds", "_lower", "id", "record")

    def __init__(self, entry: Entry, privacy: Privacy) -> None:
        stream_id, fields = entry
        self.id = stream_id
        self.record = from_entry(stream_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        if self.record.source != OWN_SOURCE and privacy.hides_log_lines(self.record.queue):
            self.record = replace(self.record, message=REDACTED, fields=None)
        self._frame: Frame | None = None
        self._lower: str | None = None
        self._holds: dict[str, bool] = {}

    def passes(self, filter: LogFilter) -> bool:
        """Return whether the filter chooses this line."""
        return filter.wants(self.record) and (filter.text is None or self.holds(filter.text))

    def holds(self, text: str) -> bool:
        """Return whether the message contains `text`, in upper or lower case. `text` must be in lower case."""
        if (known := self._holds.get(text)) is not None:
            return known
        if self._lower is None:
            self._lower = self.record.message.lower()
        found = self._holds[text] = text in self._lower
        return found

    def seek(self, texts: Iterable[str], late: Callable[[], bool]) -> bool:
        """Search the message for each of the texts, and remember the answers for `holds`.

        `late` is called after each search, and returns whether the time is up. If the time is up, `seek` returns False,
        and the caller must call `seek` again later, to continue with the texts that are left. `seek` returns True when
        no text is left.
        """
        for text in texts:
            if text not in self._holds:
                self.holds(text)
                if late():
                    return False
        return True

    @property
    def frame(self) -> Frame:
        """The frame for clients that get the line when it happens. It has no `replayed`."""
        if self._frame is None:
            self._frame = log_frame(self.id, self.record, replayed=False)
        return self._frame
