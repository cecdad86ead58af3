"""Scopes that are nearly right: what the grammar does not allow is refused, and the rest means what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from jobws.access.identity import Rights, allows
from jobws.access.scope import Action, parse_entry, parse_scope
from jobws.access.visible import IdentitySight
from jobws.errors import TokenRefusedError
from jobws.protocol.identifiers import KEY_SUFFIXES
from tests.fuzz.mutations import attempt, changed_text, json_values
from tests.support.sight import identity

if TYPE_CHECKING:
    from jobws.access.identity import Identity
    from jobws.access.scope import Entry

NAMES = ("http", "b", "42", "*", "%2A", "%2F", "%C3%A9", "e%CC%81", "%E2%80%A8", "a.b_c-d~!'()", "active", "x" * 512)
segments = st.sampled_from(NAMES) | st.lists(st.sampled_from(NAMES[:8]), min_size=1, max_size=3).map("".join)
FORMS = (
    *("read:jobs:Q", "read:jobs:Q/J", "read:jobs:Q/J:children", "read:queues:Q", "read:logs", "read:logs:Q"),
    *("write:jobs:Q", "write:jobs:Q:retry", "write:jobs:Q/J:retry", "write:jobs:Q/J:promote", "write:jobs:Q/J:remove"),
    *("write:queues:Q:retry", "write:queues:Q:pause", "write:queues:Q:resume", "write:logs", "read:metrics", "admin"),
)
entries = st.builds(
    lambda form, queue, job_id: form.replace("Q", queue).replace("J", job_id),
    st.sampled_from(FORMS),
    segments,
    segments,
)
PIECES = (
    *":/*% ",
    *("%2F", "%2a", "%25", "%FF", "%ED%A0%80", "%C3", "\n", "\t", "é", "\u3000", "read", "jobs", "admin"),
)
near_entries = entries | changed_text(entries, PIECES)

SEGMENT = r"(\*|(?:[A-Za-z0-9\-._~!'()]|%[0-9A-Fa-f]{2})+)"
GRAMMAR = [
    rf"(read:jobs):{SEGMENT}(?:/{SEGMENT})?()",
    rf"(read:jobs):{SEGMENT}/{SEGMENT}(:children)",
    rf"(write:jobs):{SEGMENT}(?:/{SEGMENT})?(:retry|:promote|:remove)",
    rf"(read:queues|read:logs|write:jobs):{SEGMENT}()()",
    rf"(write:queues):{SEGMENT}()(:retry|:pause|:resume)",
    r"(read:logs|write:logs|read:metrics|admin)()()()",
]


class Meaning(NamedTuple):
    """What an entry allows. None stands for everything."""

    action: str
    queue: str | None
    job_id: str | None


def meaning(text: object) -> Meaning | None:
    """Return what an entry means according to the grammar, or None if it is refused."""
    match = next((found for form in GRAMMAR if (found := re.fullmatch(form, str(text), re.ASCII))), None)
    if match is None or not isinstance(text, str):
        return None
    start, *parts, verb = match.groups()
    try:
        queue, job_id = (None if part in ("*", "", None) else unquote(part, errors="strict") for part in parts)
    except UnicodeDecodeError:
        return None
    if queue == "*" or job_id in KEY_SUFFIXES or any(len((name or "").encode()) > 512 for name in (queue, job_id)):
        return None
    return Meaning(start + verb, queue, job_id)


def as_meaning(entry: Entry) -> Meaning:
    return Meaning(entry.action.value, *(entry.place or (None, None)))


def covers(held: Meaning, action: Action, queue: str | None, job_id: str | None) -> bool:
    if held.action == "admin":
        return True
    return (
        (held.action == action.value or (held.action, action) == ("read:jobs:children", Action.READ_JOB))
        and held.queue in (None, queue)
        and held.job_id in (None, job_id)
    )


@given(near_entries)
def test_an_entry_is_refused_or_means_what_it_says(text: str) -> None:
    entry = attempt(TokenRefusedError, parse_entry, text)
    if isinstance(entry, TokenRefusedError):
        assert meaning(text) is None
        assert entry.code == "bad-token"
        assert str(entry).isprintable(), "it does not tear the log"
    else:
        assert as_meaning(entry) == meaning(text)


scopes = (
    st.tuples(st.lists(near_entries, max_size=5).map(" ".join), st.sampled_from(("", " ", "  ", "\n", "\t"))).map(
        "".join
    )
    | st.lists(near_entries | json_values, max_size=5)
    | json_values
)


@given(scopes)
def test_one_wrong_entry_refuses_the_whole_scope(scope: object) -> None:
    texts = scope.split(" ") if isinstance(scope, str) else scope if isinstance(scope, list) else []
    expected = [meaning(text) for text in texts]
    found = attempt(TokenRefusedError, parse_scope, scope)
    if isinstance(found, TokenRefusedError):
        assert not expected or None in expected
        assert found.code == "bad-token"
    else:
        assert expected
        assert [as_meaning(entry) for entry in found] == expected


@given(st.lists(entries, min_size=1, max_size=4), st.sampled_from(Action), segments, segments, st.booleans())
def test_what_is_allowed_is_what_some_entry_says(
    listed: list[str], action: Action, queue: str, job_id: str, is_of_job: bool
) -> None:
    meanings = [found for text in listed if (found := meaning(text))]
    holder = identity(*(text for text in listed if meaning(text)))
    asked = unquote(queue), unquote(job_id) if is_of_job else None
    expected = any(covers(held, action, *asked) for held in meanings)
    assert allows(holder, action, *asked) == expected
    check_sight(holder, meanings, *asked)


def check_sight(holder: Identity, meanings: list[Meaning], queue: str, job_id: str | None) -> None:
    """What is seen is what is allowed, whichever way it is asked."""
    seen = IdentitySight(holder)
    assert seen.may_read(queue, job_id) == any(covers(held, Action.READ_JOB, queue, job_id) for held in meanings)
    labels = dict.fromkeys((queue, "http", "b", "none"))
    reading = [held for held in meanings if held.action in ("admin", "read:jobs", "read:jobs:children", "read:queues")]
    expected = [label for label in labels if any(held.queue in (None, label) for held in reading)]
    assert list(seen.queues(labels)) == expected == [label for label in labels if seen.sees(label)]
    if job_id is not None:
        readable = {label for label in labels if seen.may_read(label, job_id)}
        assert set(seen.queues_of(job_id, labels)) == readable
        assert seen.reads_somewhere(job_id) or not readable
    assert holder.rights == Rights(reversed(holder.rights.entries))
