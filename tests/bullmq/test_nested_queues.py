"""Which ids are asked about, and which of them belong to a nested queue."""

from __future__ import annotations

import hiredis
import pytest

from jobws.bullmq.keys import Queue
from jobws.bullmq.nested_queues import MAX_COLONS, AreForeign, commands, foreign

HTTP = Queue("http", "bull", "http")


def test_each_place_where_a_name_may_end_is_asked_about_once() -> None:
    asked = commands(HTTP, [b"8", b"a:b:8", b"a:9", b":8", "ü:ü".encode()])
    assert [command[1] for command in asked] == [
        b"bull:http:a:meta",
        b"bull:http:a:b:meta",
        b"bull:http::meta",
        "bull:http:ü:meta".encode(),
    ]


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([0, 0], set()),
        ([1, 0], {b"a:b:8", b"a:9"}),
        ([0, 1], {b"a:b:8"}),
        ([hiredis.ReplyError("WRONGTYPE"), 0], set()),  # another key ends in `:meta`
        ([hiredis.ReplyError("NOPERM"), 0], {b"a:b:8", b"a:9"}),
    ],
)
def test_an_id_is_foreign_if_a_part_of_it_is_the_name_of_a_queue(replies: list[object], expected: set[bytes]) -> None:
    assert foreign([b"8", b"a:b:8", b"a:9"], replies) == expected


def test_an_id_with_too_many_colons_is_foreign() -> None:
    """The cost of one id is limited."""
    most, more = b"8".rjust(MAX_COLONS + 1, b":"), b"8".rjust(MAX_COLONS + 2, b":")
    assert len(commands(HTTP, [more])) == MAX_COLONS
    assert foreign([most, more], [0] * MAX_COLONS) == {more}


def test_many_jobs_of_several_queues_are_asked_about_together() -> None:
    query = AreForeign(((HTTP, b"a:b:8"), (HTTP, b"8"), (Queue("x", "bull", "x"), b"a:8")))
    assert [command[1] for command in query.commands()] == [
        b"bull:http:a:meta",
        b"bull:http:a:b:meta",
        b"bull:x:a:meta",
    ]
    assert query.parse([0, 1, 0]) == [True, False, False]
    assert query.parse([0, 0, 1]) == [False, False, True]
