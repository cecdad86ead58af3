"""A message can be gone through with other rights, to see what it needs, before it is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.errors import RequestError
from jobws.protocol.codec import Frame
from jobws.protocol.log.requests import LogSession
from jobws.protocol.session import ABUSE_ERRORS, Session, Standing
from tests.support.sight import EVERYTHING, sight

UNAVAILABLE = RequestError("unavailable", "ask again")
JOB = {"queue": "http", "jobId": "1"}


class Noting:
    """Notes what it is asked, and allows nothing."""

    reads_all = False
    reads_every_queue = False
    line_queues = frozenset({"http"})

    def __init__(self) -> None:
        self.asked: list[object] = []

    def may_read(self, queue: str, job_id: str | None) -> bool:
        self.asked.append((queue, job_id))
        return False

    def reads_somewhere(self, job_id: str | None) -> bool:
        self.asked.append(job_id)
        return False

    def reads_children(self, queue: str, job_id: str) -> bool:
        self.asked.append(("children", queue, job_id))
        return False

    def reads_queue(self, queue: str) -> bool:
        self.asked.append(queue)
        return False

    @property
    def reads_a_queue(self) -> bool:
        self.asked.append("*")
        return False

    def reads_everywhere(self, _job_id: str | None) -> bool:
        return False

    def queues_of(self, _job_id: str | None, _labels: object) -> list[str]:
        return []

    def may_read_lines(self, queue: str | None) -> bool:
        self.asked.append(queue)
        return False

    def container(self, _labels: object) -> list[str]:
        return []


def new_session() -> Session:
    return Session(("http",), 20_000, 10, EVERYTHING)


def needs(message: Any, session: Session | LogSession | None = None) -> list[object]:
    noting, session = Noting(), session or new_session()
    session.rehearse(message if isinstance(message, str | bytes) else json.dumps(message), noting)
    assert session.sight is EVERYTHING
    return noting.asked


@pytest.mark.parametrize(
    ("event", "data", "asked"),
    [
        ("subscribe-job", JOB, [("http", "1")]),
        ("subscribe-job", ["1", JOB, 1.5], ["1", ("http", "1")]),
        ("subscribe-queue", "http", [("http", None)]),
        ("subscribe-queue", "*", [None]),
        ("subscribe-queue", {"queues": ["http", "*"], "events": ["queue-stats"]}, ["http", "*"]),
        ("unsubscribe-job", JOB, []),
        ("unsubscribe-queue", "http", []),
        ("ping", None, []),
        ("authenticate", {"token": "t"}, []),
        ("subscribe-x", None, []),
    ],
)
def test_what_a_request_needs(event: str, data: object, asked: list[object]) -> None:
    assert needs({"event": event, "data": data}) == asked


def test_each_queue_of_a_filter_is_needed() -> None:
    session = LogSession(1 << 18, EVERYTHING)
    message = {"event": "subscribe-logs", "data": {"queue": ["http", "sparql"]}}
    assert set(needs(message, session)) == {None, "http", "sparql"}
    assert set(needs({"event": "subscribe-logs"}, session)) == {None, "http"}


def test_a_message_that_is_refused_needs_nothing() -> None:
    for message in ("", b"", "[]", "{", json.dumps({"event": "subscribe-job", "data": "x" * 20_000})):
        assert needs(message) == []


@pytest.mark.parametrize("standing", [Standing.WITHOUT_TOKEN, Standing.EXPIRED])
def test_without_a_valid_token_nothing_is_needed(standing: Standing) -> None:
    session = new_session()
    session.standing = standing
    assert needs({"event": "subscribe-job", "data": JOB}, session) == []


def test_a_request_that_cannot_be_judged_is_no_error_of_the_client() -> None:
    session = new_session()
    data = {"code": "unavailable", "message": "ask again", "request": "subscribe-job"}
    for _ in range(2 * ABUSE_ERRORS):
        answer = session.receive(json.dumps({"event": "subscribe-job", "data": JOB, "ref": 3}), 0.0, UNAVAILABLE)
        assert isinstance(answer, Frame)
        assert json.loads(answer.payload) == {"event": "error", "data": data, "ref": 3}
    left = session.receive(json.dumps({"event": "unsubscribe-job", "data": JOB}), 0.0, UNAVAILABLE)
    assert not isinstance(left, Frame)


def test_rights_of_a_context_end_with_it() -> None:
    session, narrow = new_session(), sight("read:jobs:http/1")
    with session.seeing(narrow):
        assert session.sight is narrow
    assert session.sight is EVERYTHING
