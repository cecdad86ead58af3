"""Reads the rules of `--redact`, `--no-results`, `--show-data` and `--show-stacktraces`. Pure.

A rule that hides nothing because it is written wrong would show what it should hide, so every doubt is an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from jobws.errors import ConfigurationError
from jobws.privacy.paths import MAX_PARTS, tree_of
from jobws.privacy.rules import JOB_FIELDS, JSON_FIELDS, LOGS, Privacy, QueueRules
from jobws.protocol.identifiers import can_be_queue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jobws.privacy.paths import Path

EVERY: Final = "*"
"""In a rule: every queue, or every key and item of one level of a path."""
_NEEDED: Final = ("event", "jobId", "queue")
_BROKEN_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")


def parse_privacy(
    redact: Sequence[str],
    no_results: Sequence[str],
    show_data: Sequence[str],
    show_stacktraces: Sequence[str],
    queues: Mapping[str, str],
    *,
    discovers: bool,
) -> Privacy:
    """Return the rules. In the four lists, a queue is a label, or `*` for all queues.

    Args:
        redact: Rules `QUEUE:FIELD` or `QUEUE:FIELD.path`. FIELD is a field of events or of jobs' hashes, or `logs`.
            `logs` hides the text of lines: of those that workers write with `job.log()`, and of those of `/logs` that
            name the queue. In FIELD and path, `%XX` stands for a byte in UTF-8.
        no_results: The queues whose results and reasons of failure are not shown.
        show_data: The queues whose jobs' data are shown.
        show_stacktraces: The queues whose jobs' stack traces are shown.
        queues: The names of the queues with which the bridge is started, by label.
        discovers: Whether the bridge may find further queues. If not, a rule for a queue that is not in `queues` is an
            error.

    Raises:
        ConfigurationError: A rule cannot be read, or can apply to nothing.
    """
    hidden: dict[str, dict[str, list[Path]]] = {}
    flags = {"--no-results": no_results, "--show-data": show_data, "--show-stacktraces": show_stacktraces}
    labels: dict[str, None] = {}
    for text in redact:
        label, field, path = _parse_rule(text)
        _check_queue(f"--redact {text}", label, queues, discovers=discovers)
        labels[label] = None
        hidden.setdefault(label, {}).setdefault(field, []).append(path)
    for flag, given in flags.items():
        for label in given:
            _check_queue(f"{flag} {label}", label, queues, discovers=discovers)
            labels[label] = None

    def rules_of(label: str) -> QueueRules:
        whose = {label, EVERY}
        fields = {field for each in whose for field in hidden.get(each, {})}
        redacted = {
            field: tree_of([path for each in whose for path in hidden.get(each, {}).get(field, [])]) for field in fields
        }
        shows_results = whose.isdisjoint(no_results)
        return QueueRules(
            redacted,
            shows_results=shows_results,
            shows_data=not whose.isdisjoint(show_data),
            shows_stacktraces=(
                not whose.isdisjoint(show_stacktraces)
                and shows_results
                and fields.isdisjoint({"failedReason", "stacktrace"})
            ),
        )

    named = {label: rules_of(label) for label in labels if label != EVERY}
    named_logs = frozenset(queues[label] for label in named if label in queues and named[label].hides_lines)
    return Privacy(named, rules_of(EVERY) if EVERY in labels else None, named_logs)


def _parse_rule(text: str) -> tuple[str, str, Path]:
    """Return the label, the field and the path of a rule. The label is what stands before the last colon."""
    label, colon, place = text.rpartition(":")
    field, *path = place.split(".")
    if not (colon and label and field and all(path)):
        raise ConfigurationError(f"--redact takes QUEUE:FIELD or QUEUE:FIELD.path, as http:data.password, not {text}")
    if _BROKEN_ESCAPE.search(place):
        raise ConfigurationError(f"--redact {text}: a % needs two hexadecimal digits after it; %25 is a % itself")
    if EVERY in field:
        raise ConfigurationError(f"--redact {text}: name the field; {EVERY} stands for queues, and for keys in a path")
    name = _decoded(field, text)
    if name in _NEEDED:
        raise ConfigurationError(f"--redact {text}: clients need {name} to know which event of which job they get")
    meant = next((each for each in (*JOB_FIELDS, LOGS) if each.lower() == name.lower()), name)
    if meant != name:
        raise ConfigurationError(f"--redact {text}: is {meant} meant? Upper and lower case differ")
    if path and name not in JSON_FIELDS:
        raise ConfigurationError(
            f"--redact {text}: only {', '.join(JSON_FIELDS)} have paths; write {label}:{field}, "
            "and %2E for a dot in a name"
        )
    if any(EVERY in each and each != EVERY for each in path):
        raise ConfigurationError(f"--redact {text}: a {EVERY} is a part of a path by itself; %2A is a star in a key")
    if len(path) > MAX_PARTS:
        raise ConfigurationError(f"--redact {text}: a path may have {MAX_PARTS} parts, this one has {len(path)}")
    return label, name, tuple(None if each == EVERY else _decoded(each, text) for each in path)


def _decoded(part: str, text: str) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeError:
        raise ConfigurationError(f"--redact {text}: what %XX stands for must be UTF-8") from None


def _check_queue(rule: str, label: str, queues: Iterable[str], *, discovers: bool) -> None:
    if label != EVERY and label not in queues and not (discovers and can_be_queue(label)):
        known = ", ".join(queues) or "not known yet"
        raise ConfigurationError(f'{rule}: the bridge has no queue "{label}"; its queues are {known}')
