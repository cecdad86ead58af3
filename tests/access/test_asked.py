"""What an authorizer must be asked about a request, and what its answers allow."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from jobws.access.asked import MAX_CHECKS, AskedRights, Check, Rehearsal, Subject, TokenInfo, Verdict
from jobws.access.asked_sight import AskedSight
from jobws.access.caller import ANYONE, Unauthenticated
from jobws.access.scope import Action
from jobws.access.sights import EVERYTHING, NOBODY, sight_of
from jobws.access.visible import IdentitySight
from tests.support.sight import identity

LABELS = ["http", "sparql"]
READS = Check(Action.READ_JOB, "http", "1")


async def _never(*_: object) -> None:
    raise AssertionError


def yes(again: float = inf) -> Verdict:
    return Verdict(allow=True, until=again, again=again)


NO = Verdict(allow=False, until=5, again=5)


def new_rights() -> AskedRights:
    return AskedRights(Subject(identity(), "the token"), LABELS, _never, TokenInfo(None, None))


def rehearsal(found: dict[Check, Verdict] | None = None) -> Rehearsal:
    return Rehearsal(LABELS, (found or {}).get)


def test_a_rehearsal_notes_what_is_needed_and_allows_only_what_was_answered() -> None:
    other = READS._replace(job_id="2")
    rights = rehearsal({READS: yes(), other: NO})
    sight = AskedSight(rights)
    assert [sight.may_read("http", job_id) for job_id in ("1", "2", "3", "1")] == [True, False, False, True]
    assert rights.answers == {READS: yes(), other: NO}
    assert list(rights.missing) == [READS._replace(job_id="3")]
    assert not rights.seeks
    assert not rights.knows("http")


def test_what_names_no_queue_needs_an_answer_for_each() -> None:
    rights = rehearsal({READS: yes()})
    sight = AskedSight(rights)
    assert sight.reads_somewhere("1")
    assert sight.queues_of("1", LABELS) == ["http"]
    assert list(rights.missing) == [READS._replace(queue="sparql")]
    assert rights.seeks
    lines = rehearsal()
    assert AskedSight(lines).line_queues == frozenset()
    assert list(lines.missing) == [Check(Action.READ_LOGS, label, None) for label in LABELS]
    assert lines.seeks


def test_a_whole_queue_needs_two_answers() -> None:
    rights = rehearsal()
    assert not AskedSight(rights).may_read("http", None)
    assert set(rights.missing) == {READS._replace(job_id=None), Check(Action.READ_QUEUE, "http", None)}


def test_what_has_no_answer_is_not_allowed() -> None:
    sight = AskedSight(new_rights())
    assert not sight.may_read("http", "1")
    assert not sight.reads_somewhere("1")
    assert not sight.reads_everywhere("1")
    assert not sight.may_read_lines(None)
    assert (sight.line_queues, sight.queues(LABELS), sight.reads_all) == (frozenset(), [], False)


def test_answers_say_which_queues_exist_for_a_client() -> None:
    rights = new_rights()
    rights.take({READS: yes(), Check(Action.SUBMIT, "sparql", None): yes()}, 0)
    sight = AskedSight(rights)
    visible = sight.container({*LABELS, "other"})
    assert ["http" in visible, "sparql" in visible, "other" in visible] == [True, False, False]
    rights.take({Check(Action.READ_QUEUE, "sparql", None): yes()}, 0)
    assert "sparql" in visible
    assert sight.queues(LABELS) == ["sparql"]
    rights.keep({})
    assert "http" not in visible


def test_answers_are_due_when_the_first_yes_is_over() -> None:
    rights = new_rights()
    assert rights.due == inf
    rights.take({READS: yes(10), READS._replace(job_id="2"): yes(20), READS._replace(job_id="3"): NO}, 0)
    assert rights.due == 10
    rights.keep({READS._replace(job_id="2"): yes(20)})
    assert rights.due == 20
    rights.keep({})
    assert rights.due == inf


def test_a_yes_that_is_taken_back_is_due_immediately() -> None:
    rights = new_rights()
    rights.take({READS: yes(10)}, 0)
    rights.take({READS: NO}, 3)
    assert (rights.due, rights.include(*READS)) == (3, False)
    assert rights.keep({READS: NO})


def test_answers_that_nothing_needs_do_not_pile_up() -> None:
    rights = new_rights()
    many = {READS._replace(job_id=str(number)): yes() for number in range(MAX_CHECKS)}
    rights.take(many, 3)
    assert rights.due == inf
    rights.take({READS._replace(queue="sparql"): yes()}, 3)
    assert rights.due == 3
    rights.keep(many)
    rights.take({READS._replace(queue="sparql"): yes()}, 4)
    assert rights.due == inf


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({READS: yes()}, {READS: yes(5)}, False),
        ({READS: yes()}, {}, False),
        ({READS: NO}, {READS: yes()}, True),
        ({READS: yes()}, {READS: NO}, True),
        ({}, {READS: yes()}, True),
    ],
)
def test_only_a_change_is_reported(before: dict[Check, Verdict], after: dict[Check, Verdict], *, changed: bool) -> None:
    rights = new_rights()
    rights.take(before, 0)
    assert rights.keep(after) is changed
    assert rights.verdicts == after


def test_a_copy_changes_on_its_own() -> None:
    rights = new_rights()
    rights.take({READS: yes(10)}, 0)
    copy = rights.copy()
    rights.keep({})
    assert (copy.include(*READS), copy.due, copy.knows("http"), copy.subject) == (True, 10, True, rights.subject)


def test_no_text_of_rights_shows_the_token() -> None:
    rights = new_rights()
    assert "the token" not in repr(rights)
    assert repr(rights) == "<AskedRights: 0 answers>"


def test_each_caller_has_its_sight() -> None:
    assert sight_of(ANYONE) is EVERYTHING
    assert sight_of(Unauthenticated()) is NOBODY
    assert isinstance(sight_of(identity("read:jobs:*")), IdentitySight)
    for rights in (new_rights(), rehearsal()):
        found = sight_of(replace(identity(), rights=rights))
        assert isinstance(found, AskedSight)
        assert found.rights is rights


def test_a_verified_token_says_whose_it_is_and_of_two_expiries_the_earlier_one_counts() -> None:
    verified = replace(identity(), sub="ann", expires_ms=2000)
    rights = AskedRights(Subject(verified, "the token"), LABELS, _never, TokenInfo("bob", 3000))
    assert (rights.identity.sub, rights.identity.expires_ms) == ("ann", 2000)
    rights.token_info = TokenInfo("bob", 1000)
    assert (rights.identity.sub, rights.identity.expires_ms) == ("ann", 1000)
    rights.subject = Subject(replace(verified, sub=None), "the token")
    assert rights.identity.sub == "bob"


def test_of_very_many_queues_only_the_first_are_asked_about() -> None:
    labels = [str(number) for number in range(MAX_CHECKS + 1)]
    rights = Rehearsal(labels, lambda _check: None)
    assert AskedSight(rights).queues(labels) == []
    assert len(rights.missing) == MAX_CHECKS
