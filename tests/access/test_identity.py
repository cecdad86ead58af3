"""What an identity may do, compared with a slow reference that reads the text of entries, and with a table."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobws.access.identity import Identity, Rights, allows
from jobws.access.scope import Action, parse_scope


def identity(*scope: str, iss: str | None = None, sub: str | None = "ann") -> Identity:
    rights = Rights(parse_scope(list(scope)) if scope else ())
    return Identity(iss=iss, sub=sub, rights=rights, expires_ms=None, token_hash=b"secret-hash", key=b"secret-key")


def slowly_allows(scope: list[str], action: Action, queue: str | None, job_id: str | None) -> bool:
    """Return what `allows` returns, from the texts of the entries, one by one."""
    return any(covers(entry, action.value.split(":"), queue, job_id) for entry in scope)


def covers(entry: str, wanted: list[str], queue: str | None, job_id: str | None) -> bool:
    if entry == "admin":
        return True
    first, second, *rest = entry.split(":")
    if [first, second] != wanted[:2]:
        return False
    if not rest:
        return True
    place, *verbs = rest
    if verbs != wanted[2:] and (verbs, wanted[2:]) != (["children"], []):
        return False
    if wanted == ["read", "logs"] and queue is None:
        return False
    its_queue, _, its_job = place.partition("/")
    return fits(its_queue, queue) and fits(its_job or "*", job_id)


def fits(pattern: str, name: str | None) -> bool:
    return pattern == "*" or (name is not None and unquote(pattern) == name)


segments = st.sampled_from(["*", "a", "b", "%2Fa", "c%2A", "%25", "a%25"])
some_queues = st.sampled_from([None, "a", "b", "/a", "c*", "%", "*", "a%", "%2Fa"])
jobs = st.sampled_from([None, "a", "b", "/a", "c*", "%", "*", "a%", "%25"])
places = st.one_of(segments, st.tuples(segments, segments | st.just("%2A")).map("/".join))
some_entries = st.one_of(
    st.sampled_from(["admin", "read:logs", "write:logs", "read:metrics"]),
    st.tuples(st.sampled_from(["read:jobs:", "read:queues:", "read:logs:", "write:jobs:"]), segments).map("".join),
    st.tuples(
        st.just("write:queues:"), segments, st.sampled_from([":retry", ":pause", ":resume"])
    ).map("".join),
    places.map("read:jobs:{}".format),
    st.tuples(st.just("write:jobs:"), places, st.sampled_from([":retry", ":promote", ":remove"])).map("".join),
    st.tuples(segments, segments).map(lambda pair: "read:jobs:{}/{}:children".format(*pair)),
)  # fmt: skip


@given(st.lists(some_entries, max_size=6), st.sampled_from(Action), some_queues, jobs)
@example(["read:logs:*"], Action.READ_LOGS, None, None)
@example(["read:logs"], Action.READ_LOGS, None, None)
@example(["read:jobs:*/a"], Action.READ_JOB, "b", "a")
@example(["read:jobs:a/b:children"], Action.READ_JOB, "a", "b")
def test_what_is_allowed_is_what_the_slow_reference_allows(
    scope: list[str], action: Action, queue: str | None, job_id: str | None
) -> None:
    assert allows(identity(*scope), action, queue, job_id) == slowly_allows(scope, action, queue, job_id)


@given(st.lists(some_entries, max_size=4), st.lists(some_entries, max_size=4), st.sampled_from(Action))
def test_entries_only_add(first: list[str], second: list[str], action: Action) -> None:
    """No entry takes a right away, and together they give no right that none of them gives alone."""
    alone = [allows(identity(*each), action, "a", "b") for each in (first, second)]
    assert allows(identity(*first, *second), action, "a", "b") == any(alone)


TABLE = [
    ("read:jobs:http/42", Action.READ_JOB, "http", "42", True),
    ("read:jobs:http/42", Action.READ_JOB, "http", "43", False),
    ("read:jobs:http/42", Action.READ_JOB, "sparql", "42", False),
    ("read:jobs:http/42", Action.READ_JOB, "http", None, False),
    ("read:jobs:http/42", Action.READ_JOB, None, "42", False),
    ("read:jobs:http/42", Action.READ_CHILDREN, "http", "42", False),
    ("read:jobs:http/42", Action.READ_QUEUE, "http", None, False),
    ("read:jobs:http", Action.READ_JOB, "http", "43", True),
    ("read:jobs:http", Action.READ_JOB, "http", None, True),
    ("read:jobs:http", Action.READ_JOB, None, None, False),
    ("read:jobs:http", Action.READ_QUEUE, "http", None, False),
    ("read:jobs:http", Action.READ_LOGS, "http", None, False),
    ("read:jobs:http", Action.SUBMIT, "http", None, False),
    ("read:jobs:*/42", Action.READ_JOB, "http", "42", True),
    ("read:jobs:*/42", Action.READ_JOB, None, "42", True),
    ("read:jobs:*/42", Action.READ_JOB, "http", None, False),
    ("read:jobs:http/%2A", Action.READ_JOB, "http", "42", False),
    ("read:jobs:http/%2A", Action.READ_JOB, "http", None, False),
    ("read:jobs:http/%2A", Action.READ_JOB, "http", "*", True),
    ("read:jobs:http/42", Action.READ_JOB, "*", "42", False),
    ("read:jobs:*", Action.READ_JOB, None, None, True),
    ("read:jobs:*", Action.READ_JOB, "http", "42", True),
    ("write:jobs:*:remove", Action.REMOVE_JOB, "http", "42", True),
    ("read:logs read:jobs:http/42", Action.READ_JOB, "http", "42", True),
    ("read:jobs:http/42 read:logs", Action.READ_JOB, "http", "42", True),
    ("read:jobs:xe%CC%81/1", Action.READ_JOB, "x\u00e9", "1", False),
    ("read:jobs:http/42:children", Action.READ_CHILDREN, "http", "42", True),
    ("read:jobs:http/42:children", Action.READ_JOB, "http", "42", True),
    ("read:jobs:http/42:children", Action.READ_JOB, "http", "43", False),
    ("read:queues:http", Action.READ_QUEUE, "http", None, True),
    ("read:queues:http", Action.READ_QUEUE, "sparql", None, False),
    ("read:queues:http", Action.READ_JOB, "http", "42", False),
    ("write:jobs:http", Action.SUBMIT, "http", None, True),
    ("write:jobs:http", Action.READ_JOB, "http", "42", False),
    ("write:jobs:http", Action.RETRY_JOB, "http", "42", False),
    ("write:jobs:http", Action.REMOVE_JOB, "http", "42", False),
    ("write:jobs:http:retry", Action.RETRY_JOB, "http", "42", True),
    ("write:jobs:http:retry", Action.SUBMIT, "http", None, False),
    ("write:jobs:http:retry", Action.RETRY_QUEUE, "http", None, False),
    ("write:jobs:http/42:retry", Action.RETRY_JOB, "http", "42", True),
    ("write:jobs:http/42:retry", Action.PROMOTE_JOB, "http", "42", False),
    ("write:jobs:http/42:retry", Action.RETRY_JOB, "http", "43", False),
    ("write:queues:http:retry", Action.RETRY_QUEUE, "http", None, True),
    ("write:queues:http:retry", Action.RETRY_JOB, "http", "42", False),
    ("write:queues:http:pause", Action.RESUME_QUEUE, "http", None, False),
    ("read:logs", Action.READ_LOGS, None, None, True),
    ("read:logs", Action.READ_LOGS, "http", None, True),
    ("read:logs", Action.WRITE_LOGS, None, None, False),
    ("read:logs", Action.READ_JOB, "http", "42", False),
    ("read:logs:http", Action.READ_LOGS, "http", None, True),
    ("read:logs:http", Action.READ_LOGS, "sparql", None, False),
    ("read:logs:http", Action.READ_LOGS, None, None, False),
    ("read:logs:*", Action.READ_LOGS, "http", None, True),
    ("read:logs:*", Action.READ_LOGS, None, None, False),
    ("write:logs", Action.WRITE_LOGS, None, None, True),
    ("write:logs", Action.READ_LOGS, None, None, False),
    ("read:metrics", Action.READ_METRICS, None, None, True),
    ("read:metrics", Action.ADMIN, None, None, False),
    *(("admin", action, "http", "42", True) for action in Action),
    *(("admin", action, None, None, True) for action in Action),
]


@pytest.mark.parametrize(("scope", "action", "queue", "job_id", "allowed"), TABLE)
def test_rights(scope: str, action: Action, queue: str | None, job_id: str | None, allowed: bool) -> None:
    assert allows(identity(*scope.split()), action, queue, job_id) is allowed


@pytest.mark.parametrize("action", Action)
def test_nothing_is_allowed_without_an_entry(action: Action) -> None:
    assert not allows(identity(), action, "http", "42")
    assert not allows(identity(), action)


def test_an_identity_shows_no_secret() -> None:
    shown = repr(identity("read:jobs:http/42"))
    assert "secret" not in shown
    assert "42" not in shown
    assert "ann" in shown


def test_limits_are_counted_by_holder() -> None:
    assert identity(iss="a").holder == ("a", "ann") != identity(iss="b").holder
    assert identity().holder == (None, "ann")
    assert identity(sub=None, iss="a").holder == b"secret-hash"


def test_rights_are_equal_if_their_entries_are() -> None:
    first, second = parse_scope("read:logs read:jobs:http read:logs"), parse_scope("read:jobs:http/* read:logs")
    assert Rights(first) == Rights(second)
    assert hash(Rights(first)) == hash(Rights(second))
    assert len(Rights(first).entries) == 2
    assert Rights(first) != Rights(second[:1])
    assert Rights(first) != first
