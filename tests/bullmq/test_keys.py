"""Whether labels can stand for the names of queues."""

from __future__ import annotations

import pytest

from jobws.bullmq.keys import are_names, parse_queues


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("http", "sparql"), True),
        (("*",), True),
        (("http", "*"), True),
        (("bull:http", "other:sparql"), True),
        (("http=bull:http",), True),
        (("web=bull:http",), False),
        (("http", "old=other:http"), False),
        (("other:http", "*"), False),
    ],
)
def test_labels_that_are_the_names_of_their_queues_alone(texts: tuple[str, ...], expected: bool) -> None:
    queues, discover = parse_queues(texts)
    assert are_names(queues, "bull" if discover else None) is expected
