"""The position of log lines as text: what was encoded is read again, and everything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.errors import RequestError
from jobws.protocol.job_log_position import DIGEST_BYTES, MAX_TAIL, JobLogPosition, parse_logs

QUEUES = ("http", "analyzer")
digests = st.lists(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES), min_size=1, max_size=MAX_TAIL)


@given(digests, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_position_survives_its_text(tail: list[bytes], gone: int, more: int) -> None:
    position = JobLogPosition(gone + len(tail) + more, gone, tuple(tail))
    assert parse_logs({"after": position.encode()}, "http", QUEUES) == {"http": position}
    empty = JobLogPosition(gone, gone)
    assert parse_logs({"after": {"http": empty.encode(), "foreign": 3}}, None, QUEUES) == {"http": empty}


def test_what_stands_for_all_lines_and_for_none() -> None:
    assert parse_logs(None, None, QUEUES) is None
    assert parse_logs(False, None, QUEUES) is None
    assert parse_logs(True, None, QUEUES) == {}
    assert parse_logs({}, None, QUEUES) == {}
    assert parse_logs({"after": {}}, None, QUEUES) == {}


EXPECTED = "`after` in `logs` must be the `position` of a job-log event"


@pytest.mark.parametrize(
    ("value", "queue", "sentence"),
    [
        (1, None, "`logs` must be true, or an object with `after`, not a number"),
        ([], None, "`logs` must be true, or an object with `after`, not a list"),
        ({"after": 5}, "http", f"{EXPECTED}, not a number"),
        (
            {"after": "0.0."},
            None,
            "the `position` of a job-log event as `after` needs `queue`; else send an object by queue",
        ),
        ({"after": {"http": 5}}, None, EXPECTED),
        *(
            ({"after": text}, "http", EXPECTED)
            for text in (
                *("", "5", "1.0", "1.0.", "0.0.QzkRxusN", "01.0.QzkRxusN", "-1.0.QzkRxusN", "1.2.QzkRxusN"),
                *("1.0.QzkRxusNQzkRxusN", "1.0.QzkRxus=", "1.0.QzkRxus", "1.0.QzkRxusN\n", "٣.0.QzkRxusN"),
                *(f"1{'0' * 15}.0.QzkRxusN", f"100.0.{'QzkRxusN' * 9}"),
            )
        ),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(value: object, queue: str | None, sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_logs(value, queue, QUEUES)
    assert (caught.value.code, caught.value.message) == ("bad-logs", sentence)
