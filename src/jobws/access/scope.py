"""The grammar of scopes. A scope is the list of a token's rights; each right is an entry.

An entry such as `read:jobs:http/42` allows one action in one place. If one entry is malformed, the whole token is
refused. So a mistake is noticed, and never means less or more than its author wanted.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple, assert_never
from urllib.parse import unquote_to_bytes

from jobws.errors import RequestError, TokenRefusedError
from jobws.protocol.identifiers import MAX_QUEUE_BYTES, can_be_queue, parse_job_id
from jobws.tokens import encode

MAX_ENTRIES: Final = 1_000
_SHOWN_CHARACTERS: Final = 80
_LOWEST_PRINTABLE: Final = "!"
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9\-._~!'()]|%[0-9A-Fa-f]{2})+")


class Action(Enum):
    """What a client wants to do. The value is a scope's entry without the place, for instance `write:jobs:retry`."""

    READ_JOB = "read:jobs"
    """Subscribe to a job, look it up, wait for it, and read its log. Without a job id: all jobs of the queue."""
    READ_CHILDREN = "read:jobs:children"
    """Also read the flow of a job, through `children: true`."""
    READ_QUEUE = "read:queues"
    """Read counts of a queue and events without a job."""
    SUBMIT = "write:jobs"
    RETRY_JOB = "write:jobs:retry"
    PROMOTE_JOB = "write:jobs:promote"
    REMOVE_JOB = "write:jobs:remove"
    RETRY_QUEUE = "write:queues:retry"
    """Retry all failed jobs of a queue."""
    PAUSE_QUEUE = "write:queues:pause"
    RESUME_QUEUE = "write:queues:resume"
    READ_LOGS = "read:logs"
    """Read lines of the log. Without a queue: every line, also lines that name no queue."""
    WRITE_LOGS = "write:logs"
    READ_METRICS = "read:metrics"
    ADMIN = "admin"
    """Do what no other entry allows. An entry with this action allows every other action, too."""

    # `Enum` has one in Python, which takes a third of the time of thousands of checks.
    __hash__ = object.__hash__


class Place(NamedTuple):
    """Where an entry allows its action. None stands for `*`: every queue, or every job."""

    queue: str | None
    job_id: str | None


class Entry(NamedTuple):
    """One entry of a scope. `place` is None if the entry names no place, as in `read:logs` or `admin`."""

    action: Action
    place: Place | None


def parse_scope(value: object) -> tuple[Entry, ...]:
    """Return the entries of a token's scope.

    Args:
        value: A string of entries with one space (U+0020) between them, or a list of strings with one entry each.

    Raises:
        TokenRefusedError: `bad-token`. One entry is malformed, there is none, or there are more than 1,000.
    """
    texts: list[object]
    match value:
        case str():
            texts = [*value.split(" ")]
        case list():
            texts = value
        case _:
            raise TokenRefusedError("bad-token", "the scope must be a string or a list of strings")
    if len(texts) > MAX_ENTRIES:
        sentence = f"the scope has {len(texts):,} entries; the limit is {MAX_ENTRIES:,}"
        raise TokenRefusedError("bad-token", sentence)
    if not texts:
        raise TokenRefusedError("bad-token", "the scope has no entry")
    return tuple(map(parse_entry, texts))


def parse_entry(text: object) -> Entry:
    """Return one entry of a scope.

    Raises:
        TokenRefusedError: `bad-token`, with a sentence that quotes the entry and says what is wrong with it.
    """
    if not isinstance(text, str):
        raise TokenRefusedError("bad-token", "an entry of the scope is not a string")
    if not text:
        raise TokenRefusedError("bad-token", "the scope has an empty entry; entries are separated by exactly one space")
    wrong = next((char for char in text if not _LOWEST_PRINTABLE <= char <= "~"), None)
    if wrong is not None:
        raise _refused(text, f"U+{ord(wrong):04X} must be written as %XX, byte by byte of its UTF-8")
    match text.split(":"):
        case ["admin"] | ["read" | "write", "logs"] | ["read", "metrics"]:
            return Entry(Action(text), None)
        case ["read", "logs" | "queues" as noun, queue]:
            return Entry(Action(f"read:{noun}"), _queue(text, queue))
        case ["read", "jobs", place]:
            return Entry(Action.READ_JOB, _queue_or_job(text, place))
        case ["read", "jobs", place, "children"]:
            return Entry(Action.READ_CHILDREN, _job(text, place))
        case ["write", "jobs", queue]:
            return Entry(Action.SUBMIT, _queue(text, queue))
        case ["write", "jobs", place, "retry" | "promote" | "remove" as verb]:
            return Entry(Action(f"write:jobs:{verb}"), _queue_or_job(text, place))
        case ["write", "queues", queue, "retry" | "pause" | "resume" as verb]:
            return Entry(Action(f"write:queues:{verb}"), _queue(text, queue))
        case ["read" | "write", "jobs" | "queues"]:
            raise _refused(text, "it names no queue; * stands for every queue")
        case _:
            raise _refused(text, "there is no such right; a colon of a name is written %3A")


def entry_text(entry: Entry) -> str:
    """Return the text of an entry. `parse_entry` of this text returns an equal entry."""
    if entry.place is None:
        return entry.action.value
    verb, noun, *then = entry.action.value.split(":")
    queue, job_id = ("*" if name is None else encode(name) for name in entry.place)
    return ":".join([verb, noun, f"{queue}/{job_id}" if names_jobs(entry.action) else queue, *then])


def names_jobs(action: Action) -> bool:
    """Whether an entry with this action may be for single jobs."""
    match action:
        case Action.READ_JOB | Action.READ_CHILDREN | Action.RETRY_JOB | Action.PROMOTE_JOB | Action.REMOVE_JOB:
            return True
        case Action.READ_QUEUE | Action.SUBMIT | Action.RETRY_QUEUE | Action.PAUSE_QUEUE | Action.RESUME_QUEUE:
            return False
        case Action.READ_LOGS | Action.WRITE_LOGS | Action.READ_METRICS | Action.ADMIN:
            return False
        case _:
            assert_never(action)


def _queue(entry: str, text: str) -> Place:
    if "/" in text:
        raise _refused(entry, "this right is for whole queues; a slash of a name is written %2F")
    return Place(_label(entry, text), None)


def _queue_or_job(entry: str, text: str) -> Place:
    return _job(entry, text) if "/" in text else _queue(entry, text)


def _job(entry: str, text: str) -> Place:
    queue, slash, job_id = text.partition("/")
    if not slash:
        raise _refused(entry, "it names no job; /* after the queue stands for every job")
    return Place(_label(entry, queue), _job_id(entry, job_id))


def _label(entry: str, text: str) -> str | None:
    label = _decoded(entry, text, "queue")
    # A subscription to all queues has the label `*`, so the bridge serves no queue with this label.
    if label == "*":
        raise _refused(entry, "no queue has the label %2A; a plain * stands for every queue")
    if label is not None and not can_be_queue(label):
        raise _refused(entry, f"the label of a queue has 1 to {MAX_QUEUE_BYTES} bytes of UTF-8")
    return label


def _job_id(entry: str, text: str) -> str | None:
    job_id = _decoded(entry, text, "job id")
    try:
        return None if job_id is None else parse_job_id(job_id)
    except RequestError as error:
        raise _refused(entry, error.message) from None


def _decoded(entry: str, text: str, what: str) -> str | None:
    """Return a part of an entry after one percent decoding, or None for `*`.

    Args:
        entry: The whole entry, which error messages quote.
        text: The part.
        what: What error messages call the part.

    Raises:
        TokenRefusedError: `bad-token`. The part is empty, has a character that must be encoded, or is not UTF-8.
    """
    if text == "*":
        return None
    if not text:
        raise _refused(entry, f"its {what} is empty")
    if not _SEGMENT.fullmatch(text):
        if "*" in text:
            raise _refused(entry, f"the * in its {what} must stand alone or be written %2A")
        raise _refused(entry, f"its {what} holds a character that must be written as %XX")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _refused(entry, f"its {what} is not UTF-8 after %XX are decoded") from None


def _refused(entry: str, reason: str) -> TokenRefusedError:
    cut = "…" if len(entry) > _SHOWN_CHARACTERS else ""
    return TokenRefusedError("bad-token", f"bad scope {entry[:_SHOWN_CHARACTERS]!a}{cut}: {reason}")
