"""Names of children in reasons of failure."""

from __future__ import annotations

import pytest
from msgspec import UNSET, Raw

from jobws.bullmq.child_names import snapshot_without_child, without_child
from jobws.protocol.messages import JobSnapshot


@pytest.mark.parametrize("key", ["bull:sparql:42", "my:app:q:a b:c", "bull:q:line\nbreak", "bull:Q:\ud83d\ude00"])
def test_a_reason_that_names_a_child_is_told_without_it(key: str) -> None:
    reason = f"child {key} failed".encode(errors="replace")
    fields = [b"event", b"failed", b"jobId", b"1", b"failedReason", reason, b"prev", b"active"]
    assert without_child(fields) == [*fields[:5], b"child failed", *fields[6:]]


@pytest.mark.parametrize("reason", [b"no", b"", b"child 7 failed", b"my child bull:q:7 failed", b"child a:b:c failed!"])
def test_other_reasons_stay(reason: bytes) -> None:
    assert without_child([b"event", b"failed", b"failedReason", reason]) is None
    assert without_child([b"event", b"failed", b"jobId", reason]) is None


def test_snapshots() -> None:
    snapshot = JobSnapshot("http", "1", "n", "failed", None, stacktrace=Raw(b"[]"))
    assert snapshot_without_child(snapshot) is snapshot
    snapshot = JobSnapshot("http", "1", "n", "failed", None, failed_reason="no", stacktrace=Raw(b"[]"))
    assert snapshot_without_child(snapshot) is snapshot
    named = JobSnapshot("http", "1", "n", "failed", None, failed_reason="child bull:q:7 failed", stacktrace=Raw(b"[]"))
    hidden = snapshot_without_child(named)
    assert (hidden.failed_reason, hidden.stacktrace) == ("child failed", UNSET)


@pytest.mark.parametrize(
    ("trace", "stays"), [(b'["no"]', True), (b'["Error: child bull:q:7 failed at a:1","no"]', False)]
)
def test_stack_traces_of_earlier_attempts(trace: bytes, stays: bool) -> None:
    snapshot = JobSnapshot("http", "1", "n", "failed", None, failed_reason="no", stacktrace=Raw(trace))
    assert (snapshot_without_child(snapshot).stacktrace is not UNSET) is stays
