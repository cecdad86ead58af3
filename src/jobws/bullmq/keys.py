"""Names of queues and of the keys that BullMQ keeps for them. Pure.

Source: BullMQ, src/classes/queue-keys.ts. Every key is `<prefix>:<name>:<suffix>`; prefixes, Python's queue names and
ids may hold colons, so a key is never taken apart at colons: a known front is stripped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobws.errors import ConfigurationError
from jobws.protocol.identifiers import is_text

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PREFIX: Final = "bull"
DISCOVER: Final = "*"
"""In place of a queue: every queue under the prefix, also those that appear later."""


class Queue(Struct, frozen=True):
    """A queue: its label on the wire, and where BullMQ keeps it."""

    label: str
    prefix: str
    name: str

    def key(self, suffix: str | bytes) -> bytes:
        """The key `<prefix>:<name>:<suffix>`; with a job id as the suffix, the job's hash."""
        front = f"{self.prefix}:{self.name}:".encode()
        return front + (suffix if isinstance(suffix, bytes) else suffix.encode())


def parse_queue(text: str, default_prefix: str = DEFAULT_PREFIX) -> Queue:
    """A queue from `name`, `prefix:name`, `label=name` or `label=prefix:name`.

    The name is what follows the last colon, since Node's BullMQ allows none in names but prefixes may hold some.

    Raises:
        ConfigurationError: Label, prefix or name is empty.
    """
    label, equals, place = text.partition("=")
    if not equals:
        label, place = "", text
    prefix, colon, name = place.rpartition(":")
    if not colon:
        prefix = default_prefix
    label = label if equals else name
    if not (label and prefix and name) or not is_text(text):
        raise ConfigurationError(f'cannot read the queue "{text}"; expected label=prefix:name, prefix:name or name')
    return Queue(label, prefix, name)


def parse_queues(texts: Iterable[str], default_prefix: str = DEFAULT_PREFIX) -> tuple[list[Queue], bool]:
    """The queues named in `texts`, and whether the others are to be discovered (`*`).

    Raises:
        ConfigurationError: A text cannot be read, or two queues have one label.
    """
    queues: dict[str, Queue] = {}
    discover = False
    for text in texts:
        if text == DISCOVER:
            discover = True
            continue
        queue = parse_queue(text, default_prefix)
        other = queues.setdefault(queue.label, queue)
        if other is not queue:
            raise ConfigurationError(
                f'two queues are labelled "{queue.label}" ({other.prefix}:{other.name}, {queue.prefix}:{queue.name}); '
                f"give one of them another label: --queue other={queue.prefix}:{queue.name}"
            )
    return list(queues.values()), discover


_GLOB: Final = frozenset("*?[]\\")


def meta_pattern(prefix: str | None) -> bytes:
    """The SCAN pattern that finds the `meta` key of every queue under `prefix`, or under any."""
    if prefix is None:
        return b"*:meta"
    escaped = "".join(f"\\{char}" if char in _GLOB else char for char in prefix)
    return f"{escaped}:*:meta".encode()


def queue_of_meta(key: bytes, prefix: str | None) -> str | None:
    """The name of the queue whose `meta` key this is (`prefix:name` if `prefix` is None); None if it is of none."""
    front, back = (b"" if prefix is None else f"{prefix}:".encode()), b":meta"
    if not (key.startswith(front) and key.endswith(back)) or len(key) <= len(front) + len(back):
        return None
    try:
        return key[len(front) : -len(back)].decode()
    except UnicodeDecodeError:
        return None
