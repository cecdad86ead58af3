"""What an identity sees, compared with `allows`, queue by queue and job by job."""

from __future__ import annotations

import pytest

from tests.support.sight import EVERYTHING, sight

QUEUES = dict.fromkeys(("http", "analyzer", "sparql"))


@pytest.mark.parametrize(
    ("scope", "seen", "queues_of_1", "somewhere"),
    [
        (("admin",), [*QUEUES], [*QUEUES], "12"),
        (("read:jobs:*",), [*QUEUES], [*QUEUES], "12"),
        (("read:jobs:*/1",), [*QUEUES], [*QUEUES], "1"),
        (("read:jobs:*/2",), [*QUEUES], [], "2"),
        (("read:jobs:http",), ["http"], ["http"], "12"),
        (("read:jobs:http/1",), ["http"], ["http"], "1"),
        (("read:jobs:http/1:children",), ["http"], ["http"], "1"),
        (("read:jobs:sparql", "read:jobs:http/1", "read:jobs:none/1"), ["http", "sparql"], ["http", "sparql"], "12"),
        (("read:queues:http",), ["http"], [], ""),
        (("read:queues:*",), [*QUEUES], [], ""),
        (("write:jobs:http", "write:jobs:http/1:retry", "read:logs:http", "read:logs"), [], [], ""),
        ((), [], [], ""),
    ],
)
def test_what_may_be_seen(scope: tuple[str, ...], seen: list[str], queues_of_1: list[str], somewhere: str) -> None:
    holder = sight(*scope)
    assert [*holder.queues(QUEUES)] == seen
    container = holder.container(QUEUES)
    assert [each for each in (*QUEUES, "none") if each in container] == seen
    assert sorted(holder.queues_of("1", QUEUES)) == sorted(queues_of_1)
    assert [each for each in QUEUES if holder.may_read(each, "1")] == [each for each in QUEUES if each in queues_of_1]
    assert [each for each in "12" if holder.reads_somewhere(each)] == [*somewhere]
    assert holder.reads_everywhere("1") == (len(queues_of_1) == 3)


def test_no_question_about_anything_but_a_label_is_answered_with_yes() -> None:
    asked: object = 1
    assert asked not in sight("read:jobs:http").container(QUEUES)


def test_an_identity_that_may_read_everything_gets_the_same_objects() -> None:
    assert EVERYTHING.queues(QUEUES) is EVERYTHING.container(QUEUES) is EVERYTHING.queues_of("1", QUEUES) is QUEUES
