"""Names of queues, and of the keys that BullMQ keeps for them. Pure.

Source: BullMQ, src/classes/queue-keys.ts. Every key is `<prefix>:<name>:<suffix>`. Prefixes, ids and the queue names of
BullMQ for Python may contain colons, so a key cannot be split at its colons: a known prefix is removed from it instead.
Every queue has a hash with its settings, at the key `<prefix>:<name>:meta`.
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
"""Given instead of a queue's name, it means all queues under the prefix, including queues that appear later."""


class Queue(Struct, frozen=True):
    """A queue: the label that clients see, and the prefix and name with which the queue's keys in Redis begin."""

    label: str
    prefix: str
    name: str

    def key(self, suffix: str | bytes) -> bytes:
        """Return the key `<prefix>:<name>:<suffix>`. If the suffix is a job id, this is the key of the job's hash."""
        front = f"{self.prefix}:{self.name}:".encode()
        return front + (suffix if isinstance(suffix, bytes) else suffix.encode())


def parse_queue(text: str, default_prefix: str = DEFAULT_PREFIX) -> Queue:
    """Return the queue that `text` describes: `name`, `prefix:name`, `label=name` or `label=prefix:name`.

    The name is what follows the last colon, since prefixes may contain colons, and names in Node's BullMQ may not.
    Without a prefix in `text`, the queue has the prefix `default_prefix`. The label is what precedes the first `=`;
    without a `=`, the label is the name. So a queue with `=` in its name must be given with a label.

    Raises:
        ConfigurationError: The label, the prefix or the name is empty, the label is `*`, or `text` is not valid
            Unicode.
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
    if label == DISCOVER:
        raise ConfigurationError(f'the queue "{text}" needs another label than {DISCOVER}, which means every queue')
    return Queue(label, prefix, name)


def parse_queues(texts: Iterable[str], default_prefix: str = DEFAULT_PREFIX) -> tuple[list[Queue], bool]:
    """Return the queues that `texts` describe, and whether the bridge is to find further queues itself (`*`).

    Raises:
        ConfigurationError: A text cannot be parsed, or two texts give the same label, even for the same queue.
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


def are_names(queues: Iterable[Queue], discover_prefix: str | None) -> bool:
    """Whether each label is its queue's name, and no queue that the bridge may find later can have the same name.

    Args:
        queues: The queues with which the bridge is started.
        discover_prefix: The prefix under which the bridge finds further queues; None if it looks for none.
    """
    return all(queue.label == queue.name and discover_prefix in (None, queue.prefix) for queue in queues)


_GLOB: Final = frozenset("*?[]\\")


def meta_pattern(prefix: str | None) -> bytes:
    """Return the SCAN pattern for the `meta` keys of all queues under `prefix`; None means under any prefix."""
    if prefix is None:
        return b"*:meta"
    escaped = "".join(f"\\{char}" if char in _GLOB else char for char in prefix)
    return f"{escaped}:*:meta".encode()


def queue_of_meta(key: bytes, prefix: str | None) -> str | None:
    """Return the name of the queue whose `meta` key this is, or `prefix:name` if `prefix` is None.

    Return None if the key has another form or another prefix, or is not valid UTF-8.
    """
    front, back = (b"" if prefix is None else f"{prefix}:".encode()), b":meta"
    if not (key.startswith(front) and key.endswith(back)) or len(key) <= len(front) + len(back):
        return None
    try:
        return key[len(front) : -len(back)].decode()
    except UnicodeDecodeError:
        return None
