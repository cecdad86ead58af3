"""With ten thousand queues, a client that names none gets positions only in those that have its jobs, and can send them
back.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobws.bullmq.snapshot import Found, LookUp
from jobws.hub.jobs.client import JobClient
from jobws.protocol.messages import JobSnapshot
from jobws.protocol.session import Session
from jobws.server.settings import Settings
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, do_all

QUEUES = 10_000
JOBS = 1000
NOW = 1795435729358
LIMIT = Settings().max_message_bytes


@pytest.mark.long
def test_acks_pongs_and_returns_fit_into_a_message() -> None:
    labels = {f"queue-{number}": None for number in range(QUEUES)}
    fanout = new_fanout()
    for queue in labels:
        do_all(fanout.fill(queue, [], "0-0"))
        fanout.cursors[queue] = fanout.verified[queue] = f"{NOW}-0"
    having = {str(number): f"queue-{10 * number}" for number in range(JOBS)}
    found: Found = {(queue, job): JobSnapshot(queue, job, "job", "active", f"{NOW}-0") for job, queue in having.items()}
    session = Session(labels, LIMIT, JOBS, EVERYTHING)
    client = JobClient(session, fanout, labels, JOBS, 1 << 24, lambda: None, lambda _: None)

    def ask(items: list[dict[str, Any]]) -> Any:
        message = json.dumps({"event": "subscribe-job", "data": items})
        assert len(message) < LIMIT
        pending = client.receive(message, 0.0)
        assert pending is not None
        query = ask_for(pending, labels, fanout)
        query.keep_answer(LookUp(found, {}, dict.fromkeys(labels, f"{NOW}-0")))
        do_all(client.complete(pending, query, float(NOW)))
        return last()

    def last() -> Any:
        *_, frame = client.outbox.take()
        assert len(frame) < LIMIT
        return json.loads(frame.payload)["data"]

    first = ask([{"sub": number, "jobId": job} for number, job in enumerate(having)])
    afters = [result["after"] for result in first["results"]]
    assert afters == [{queue: f"{NOW}-0"} for queue in having.values()]
    client.receive('{"event": "ping"}', 0.0)
    assert last()["after"] == dict.fromkeys(having.values(), f"{NOW}-0")
    client.end_all()
    again = ask([{"sub": number, "jobId": job, "after": afters[number]} for number, job in enumerate(having)])
    assert [result["after"] for result in again["results"]] == afters
