"""Reads what every event stream ever held from the append-only file. Redis itself forgets what it trims and deletes."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import hiredis

if TYPE_CHECKING:
    from pathlib import Path

# With this configuration, the file is never rewritten, and an entry is in the file before any client gets it.
COMPLETE: Final = ("appendonly yes", "appendfsync always", "auto-aof-rewrite-percentage 0")
_CHUNK_BYTES: Final = 1024 * 1024
_PREFIX: Final = "bull:"
_SUFFIX: Final = ":events"


class Added(NamedTuple):
    """An entry that was added. `stream` counts the streams that were deleted before."""

    id: str
    stream: int


class Streams:
    """The streams of one server.

    Attributes:
        entries: By queue, all entries that were ever added, in order, also those of streams that were deleted.
        present: By queue, how many of these belong to the present stream.
    """

    def __init__(self) -> None:
        self.entries: dict[str, list[Added]] = defaultdict(list)
        self.present: dict[str, int] = {}
        self._deleted: Counter[str] = Counter()

    def take(self, command: list[bytes]) -> None:
        """Take the next command of the file."""
        match command[0].upper():
            case b"XADD" if (queue := _queue(command[1])) is not None:
                place = 2
                while command[place].upper() in (b"NOMKSTREAM", b"MAXLEN", b"MINID", b"LIMIT"):
                    place += 1 if command[place].upper() == b"NOMKSTREAM" else 2
                    place += command[place - 1] in (b"=", b"~")
                self.entries[queue].append(Added(command[place].decode(), self._deleted[queue]))
                self.present[queue] = self.present.get(queue, 0) + 1
            case b"DEL" | b"UNLINK":
                for queue in filter(None, map(_queue, command[1:])):
                    self._deleted[queue] += 1
                    self.present.pop(queue, None)
            case _:
                pass

    def differ(self, redis: Any) -> list[str]:
        """Return a sentence for each stream for which Redis has another count. Then this object cannot be trusted."""
        found = []
        for queue, added in self.present.items():
            facts = redis.xinfo_stream(f"{_PREFIX}{queue}{_SUFFIX}")
            last = self.entries[queue][-1].id
            if facts.get("entries-added", added) != added or facts["last-generated-id"].decode() != last:
                found.append(f"the append-only file has {added} entries of {queue} up to {last}, Redis says {facts}")
        return found


def read(directory: Path) -> Streams:
    """Return the streams that a server with the configuration `COMPLETE` and this directory ever had."""
    files = [*directory.glob("appendonly.aof"), *sorted(directory.glob("appendonlydir/*.incr.aof"))]
    assert files, "the server keeps no append-only file"
    streams = Streams()
    reader = hiredis.Reader()
    for file in files:
        with file.open("rb") as data:
            while chunk := data.read(_CHUNK_BYTES):
                reader.feed(chunk)
                while isinstance(command := reader.gets(), list):
                    streams.take(command)
    return streams


def _queue(key: bytes) -> str | None:
    """Return the queue whose event stream has this key, or None if the key is no event stream."""
    name = key.decode()
    return name[len(_PREFIX) : -len(_SUFFIX)] if name.startswith(_PREFIX) and name.endswith(_SUFFIX) else None
