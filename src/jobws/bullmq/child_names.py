"""Takes the names of children out of reasons of failure. Pure.

A job that fails because a child has failed (`failParentOnFailure`) has a reason that BullMQ makes of the child's key:
`child bull:sparql:42 failed` (moveToFinished-14.lua). The key says the child's queue and id.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import UNSET, structs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobws.protocol.messages import JobSnapshot

WITHOUT_NAME: Final = "child failed"
_NAMES_CHILD: Final = re.compile(rb"child .+:.+:.+ failed", re.DOTALL)


def without_child(fields: Sequence[bytes]) -> list[bytes] | None:
    """Return the fields of an event without the child's name, or None if they name no child.

    Args:
        fields: The fields of the stream entry, as a flat list in which names and values alternate.
    """
    for index in range(0, len(fields) - 1, 2):
        if fields[index] == b"failedReason" and _NAMES_CHILD.fullmatch(fields[index + 1]):
            return [*fields[: index + 1], WITHOUT_NAME.encode(), *fields[index + 2 :]]
    return None


def snapshot_without_child(snapshot: JobSnapshot) -> JobSnapshot:
    """Return a snapshot without the names of children, in the reason of failure and in the stack trace.

    A job has the stack traces of all its attempts, also those before a retry. A trace that may name a child is left out
    whole.
    """
    reason, trace = snapshot.failed_reason, snapshot.stacktrace
    if reason is not UNSET and _NAMES_CHILD.fullmatch(reason.encode(errors="replace")):
        return structs.replace(snapshot, failed_reason=WITHOUT_NAME, stacktrace=UNSET)
    if trace is not UNSET and b"child " in (text := bytes(trace)) and b" failed" in text:
        return structs.replace(snapshot, stacktrace=UNSET)
    return snapshot
