"""How far somebody has read a job's log lines, as text that a client sends back.

BullMQ keeps lines in a list that may be trimmed from its front (`keepLogs`, `clearLogs`), so a number alone finds
nothing again. A position also holds digests of the last lines before it, by which any bridge finds the place.
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


class JobLinePosition(Struct, frozen=True):
    """Between two lines of a job's list.

    `end` lines came before it since the list began, as far as is known, and `gone` of them are known to have been
    trimmed since. `tail` are the digests of the last lines before it that the list then held: none only where it held
    none.
    """

    end: int = 0
    gone: int = 0
    tail: tuple[bytes, ...] = ()

    def encode(self) -> str:
        """The position as a client gets it."""
        return f"{self.end}.{self.gone}.{urlsafe_b64encode(b''.join(self.tail)).decode()}"


JobLinePositions: TypeAlias = dict[str, JobLinePosition]
"""By queue label, how far a subscription's lines were read; of a queue that is missing all lines are wanted."""


def digest(line: bytes) -> bytes:
    """What a position remembers of a line."""
    return blake2b(line, digest_size=DIGEST_BYTES).digest()


def parse_logs(value: object, queue: str | None, queues: Container[str]) -> JobLinePositions | None:
    """The `logs` of a subscription to `queue` (None: to all `queues`); None: no lines are wanted.

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


def _parse(text: object) -> JobLinePosition:
    match = _TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise RequestError("bad-logs", f"`after` in `logs` must be {_EXPECTED}")
    end, gone, digests = int(match[1]), int(match[2]), urlsafe_b64decode(match[3])
    tail = tuple(digests[start : start + DIGEST_BYTES] for start in range(0, len(digests), DIGEST_BYTES))
    if not (len(tail) <= end - gone and bool(tail) == (end > gone)):
        raise RequestError("bad-logs", f"`after` in `logs` must be {_EXPECTED}")
    return JobLinePosition(end, gone, tail)
