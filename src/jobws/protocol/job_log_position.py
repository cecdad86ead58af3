"""How far a client has read the log lines of a job, as text that the client sends back.

BullMQ keeps lines in a list that may be trimmed at its beginning (`keepLogs`, `clearLogs`), so an index alone does not
find a line again. A position also contains digests of the last lines before it, with which any bridge finds the place.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from jobws.errors import RequestError
from jobws.protocol.identifiers import type_name

if TYPE_CHECKING:
    from collections.abc import Container

MAX_TAIL: Final = 8
DIGEST_BYTES: Final = 6  # eight characters of base64, without padding
_NUMBER: Final = r"(0|[1-9]\d{0,14})"
_TEXT: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.((?:[A-Za-z0-9_-]{{8}}){{0,{MAX_TAIL}}})", re.ASCII)
_EXPECTED: Final = "the `position` of a job-log event"


class JobLogPosition(Struct, frozen=True):
    """A position between two log lines of a job.

    Attributes:
        end: How many lines came before this position since the list began, as far as jobws knows.
        gone: How many of these lines are known to have been trimmed.
        tail: Digests of the last lines before this position that were in the list then. It is empty only if the list
            had no line before this position.
    """

    end: int = 0
    gone: int = 0
    tail: tuple[bytes, ...] = ()

    def encode(self) -> str:
        """Return the position as text for clients."""
        return f"{self.end}.{self.gone}.{urlsafe_b64encode(b''.join(self.tail)).decode()}"


JobLogPositions: TypeAlias = dict[str, JobLogPosition]
"""How far a subscription's lines were read, by queue label. For a queue that is absent, all lines are wanted."""


def digest(line: bytes) -> bytes:
    """Return the digest by which a position recognizes a line."""
    return blake2b(line, digest_size=DIGEST_BYTES).digest()


def parse_logs(value: object, queue: str | None, queues: Container[str]) -> JobLogPositions | None:
    """Return the positions from the `logs` of a subscription, by queue label, or None if the client wants no lines.

    The client wants all lines of a queue that is absent. So the result is empty if it wants lines, but sent no
    position, or only positions that are ignored.

    Args:
        value: The JSON value that the client sent.
        queue: The queue of the subscription; None for a subscription to all queues. A single position as `after` is
            one in this queue. For None, it is an error.
        queues: The labels that the client may name. Positions under other labels are ignored.

    Raises:
        RequestError: `bad-logs`.
    """
    if value is None or value is False:
        return None
    if value is True:
        return {}
    if not isinstance(value, dict):
        raise RequestError("bad-logs", f"`logs` must be true, or an object with `after`, not {type_name(value)}")
    after = value.get("after")
    if after is None:
        return {}
    if isinstance(after, str):
        if queue is None:
            raise RequestError("bad-logs", f"{_EXPECTED} as `after` needs `queue`; else send an object by queue")
        return {queue: _parse(after)}
    if not isinstance(after, dict):
        raise RequestError("bad-logs", f"`after` in `logs` must be {_EXPECTED}, not {type_name(after)}")
    return {label: _parse(text) for label, text in after.items() if label in queues}


def _parse(text: object) -> JobLogPosition:
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise RequestError("bad-logs", f"`after` in `logs` must be {_EXPECTED}")
    end, gone, digests = int(match[1]), int(match[2]), urlsafe_b64decode(match[3])
    tail = tuple(digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES))
    if not (len(tail) <= end - gone and bool(tail) == (end > gone)):
        raise RequestError("bad-logs", f"`after` in `logs` must be {_EXPECTED}")
    return JobLogPosition(end, gone, tail)
