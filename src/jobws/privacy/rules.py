"""The rules of each queue, and how they change what comes from Redis: an event, a job's hash, a line of a log. Pure.

A queue without rules has none of these objects. So code that reads its values asks once whether there are rules, and
does nothing else for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobws.privacy.paths import REDACTED, Tree, redact

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

LOGS: Final = "logs"
"""The field that stands for the lines of jobs' logs."""
RESULTS: Final = ("returnvalue", "failedReason")
JSON_FIELDS: Final = ("data", "progress", "returnvalue")
"""The fields of a job's hash that hold JSON. The others are text."""
JOB_FIELDS: Final = (*JSON_FIELDS, "failedReason", "name", "stacktrace")
"""The fields of a job's hash that rules change. The others are times and numbers, by which outcomes are told apart."""
# An event `progress` has the progress in the field `data`, which in a job's hash is something else.
_PROGRESS_FIELD: Final = b"data"


class QueueRules(Struct, frozen=True):
    """The rules of one queue.

    Attributes:
        redacted: By field, the paths to what is replaced in it; an empty tree for all of the field.
        shows_results: Whether clients get results and reasons of failure.
        shows_data: Whether look-ups over HTTP return the data of jobs.
        shows_stacktraces: Whether they return stack traces. A stack trace begins with the reason of failure, so it is
            shown only if that is.
    """

    redacted: dict[str, Tree] = {}
    shows_results: bool = True
    shows_data: bool = False
    shows_stacktraces: bool = False

    @property
    def hides_lines(self) -> bool:
        """Whether log lines are replaced: those of the queue's jobs, and those of the log that name the queue."""
        return LOGS in self.redacted

    def event(self, fields: Sequence[bytes], json_field: bytes | None) -> Sequence[bytes]:
        """Return the fields of a stream entry as clients may see them; a field may be left out.

        Args:
            fields: The fields, as a flat list in which names and values alternate.
            json_field: The name of the field whose value is sent as JSON; None if there is none. The other values are
                sent as text.
        """
        kept: list[bytes] = []
        for index in range(0, len(fields) - 1, 2):
            name, value = fields[index], fields[index + 1]
            is_json = name == json_field
            field = "progress" if is_json and name == _PROGRESS_FIELD else name.decode(errors="replace")
            seen = self._field(field, value, is_json=is_json)
            if seen is not None:
                kept += (name, seen)
        return kept

    def job(self, values: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        """Return the fields of a job's hash, by name, as clients may see them. One that they may not see is None."""
        return {
            name: value
            if value is None or name not in JOB_FIELDS
            else self._field(name, value, is_json=name in JSON_FIELDS)
            for name, value in values.items()
        }

    def _field(self, name: str, value: bytes, *, is_json: bool) -> bytes | None:
        if name in RESULTS and not self.shows_results:
            return None
        tree = self.redacted.get(name)
        if tree is None:
            return value
        return redact(value, tree) if tree or is_json else REDACTED.encode()


class Privacy:
    """The rules of all queues.

    Args:
        named: The rules of the queues that are named, by label. They include the rules for all queues.
        others: The rules of all other queues; None if there are none.
        named_logs: Names of queues, besides labels, whose lines of the log are hidden.
    """

    def __init__(
        self,
        named: Mapping[str, QueueRules] | None = None,
        others: QueueRules | None = None,
        named_logs: Collection[str] = (),
    ) -> None:
        self.named = named or {}
        self._others = others
        self._named_logs = named_logs

    def of(self, queue: str) -> QueueRules | None:
        """Return the rules of the queue with this label; None if it has none."""
        return self.named.get(queue, self._others)

    def hides_lines(self, queue: str) -> bool:
        """Whether the text of the lines of jobs' logs is replaced, of the queue with this label."""
        rules = self.of(queue)
        return rules is not None and rules.hides_lines

    def hides_log_lines(self, queue: str | None) -> bool:
        """Whether the text of a line of the log that names this queue is replaced. False for None: it names no queue.

        A program that writes lines knows a queue's name, and maybe not its label, so either counts.
        """
        return queue is not None and (queue in self._named_logs or self.hides_lines(queue))


NO_RULES: Final = Privacy()
