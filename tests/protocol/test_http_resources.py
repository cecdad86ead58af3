"""The types check the bodies of HTTP requests."""

from __future__ import annotations

import msgspec
import pytest

from jobws.protocol.http_resources import Backoff, JobOptions, Keep, NewJob, Readiness
from jobws.protocol.identifiers import MAX_JOB_ID_BYTES


def test_a_job_that_is_added_may_have_a_name_an_id_and_options() -> None:
    text = (
        '{"data": [1], "name": "n", "jobId": "7", "other": 1, "opts": {"attempts": 3, "keepLogs": 0, '
        '"backoff": {"type": "fixed", "delay": 5}, "removeOnComplete": {"count": 1}, "removeOnFail": true}}'
    )
    options = JobOptions(
        attempts=3, keep_logs=0, backoff=Backoff("fixed", 5), remove_on_complete=Keep(count=1), remove_on_fail=True
    )
    assert msgspec.json.decode(text, type=NewJob) == NewJob([1], "n", "7", options)
    assert msgspec.json.decode('{"data": null}', type=NewJob) == NewJob(None, "job")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"data": 1, "name": ""}',
        '{"data": 1, "jobId": ""}',
        '{"data": 1, "jobId": "%s"}' % ("x" * (MAX_JOB_ID_BYTES + 1)),
        '{"data": 1, "opts": {"parent": {}}}',
        '{"data": 1, "opts": {"attempts": 0}}',
        '{"data": 1, "opts": {"priority": 2097153}}',
        '{"data": 1, "opts": {"delay": -1}}',
        '{"data": 1, "opts": {"backoff": {"type": "random"}}}',
    ],
)
def test_a_job_with_anything_else_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=NewJob)


def test_readiness_says_how_many_problems_it_does_not_name() -> None:
    assert msgspec.to_builtins(Readiness(ready=True, problems={})) == {"ready": True, "problems": {}}
    assert msgspec.to_builtins(Readiness(ready=False, problems={"a": "b"}, more=2))["more"] == 2
