"""A line of the log on its way to many clients: what is made of it for one is kept for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobws.protocol.log.records import from_entry, log_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jobws.protocol.codec import Frame
    from jobws.protocol.log.requests import LogFilter
    from jobws.redis.commands import Entry

# A job event may come this much later because of a line.
MAX_SECONDS: Final = 0.0002


class Line:
    """An entry of the stream; what is made of it for one client is kept for the next."""

    __slots__ = ("_frame", "_holds", "_lower", "id", "record")

    def __init__(self, entry: Entry) -> None:
        stream_id, fields = entry
        self.id = stream_id
        self.record = from_entry(stream_id, dict(zip(fields[::2], fields[1::2], strict=True)))
        self._frame: Frame | None = None
        self._lower: str | None = None
        self._holds: dict[str, bool] = {}

    def passes(self, filter: LogFilter) -> bool:
        """Whether a line is one of those that the filter wants."""
        return filter.wants(self.record) and (filter.text is None or self.holds(filter.text))

    def holds(self, text: str) -> bool:
        """Whether the message has `text`, which is in lower case."""
        if (known := self._holds.get(text)) is not None:
            return known
        if self._lower is None:
            self._lower = self.record.message.lower()
        found = self._holds[text] = text in self._lower
        return found

    def seek(self, texts: Iterable[str], late: Callable[[], bool]) -> bool:
        """Look for texts until it is late; whether all were looked for. It goes on there when called again."""
        for text in texts:
            if text not in self._holds:
                self.holds(text)
                if late():
                    return False
        return True

    @property
    def frame(self) -> Frame:
        """The frame of the line as it happens."""
        if self._frame is None:
            self._frame = log_frame(self.id, self.record, replayed=False)
        return self._frame
