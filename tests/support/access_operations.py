"""The operations over HTTP of the table of access: for each a request, and what it shows and does if it is allowed."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobws.protocol.log.records import DEFAULT_STREAM
from tests.support.access_table import add_below
from tests.support.http import Answer, exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.redis import Redis

HERE: Final = "here"
TREE: Final = {"done": 1, "failed": 0, "total": 1}


def state(body: Any) -> object:
    return body["results"][0]["jobs"][0]["state"]


class Operation(NamedTuple):
    """A request for the job ID, and what its answer shows to clients that may send it.

    `before` makes of Redis what the request needs, and `changed` says whether the request had its effect. `until` is
    what the answer is read up to, if it has no end. `own` says what is shown to a client that may read the other queue.
    """

    method: str
    path: str
    body: Any
    shows: Callable[[Any], object]
    before: Callable[[Redis], object] = lambda _redis: None
    changed: Callable[[Redis], object] = lambda _redis: True
    until: str = ""
    own: Callable[[Any], object] = lambda _body: False


def job_in(state: str) -> Callable[[Redis], object]:
    """Return a function that puts the job into this state alone."""

    def put(redis: Redis) -> None:
        lists = ("wait", "completed", "failed", "delayed", f"{HERE}:processed")
        redis.client.delete(*(f"bull:http:{each}" for each in lists))
        redis.add_job("http", HERE, state=state)

    return put


def below_it(redis: Redis) -> None:
    add_below(redis, HERE)


def waits(redis: Redis) -> bool:
    return redis.client.lrange("bull:http:wait", 0, -1) == [HERE.encode()]


def waits_soon(redis: Redis) -> bool:
    """Wait until the job waits for a worker. Only the test's time limit ends this."""
    while not waits(redis):
        time.sleep(0.01)
    return True


def is_gone(redis: Redis) -> bool:
    return not redis.client.exists(f"bull:http:{HERE}")


def is_paused(redis: Redis) -> object:
    return redis.client.hexists("bull:http:meta", "paused")


def pause(redis: Redis) -> None:
    redis.client.hset("bull:http:meta", "paused", "1")


def resume(redis: Redis) -> None:
    redis.client.hdel("bull:http:meta", "paused")


def add_progress(redis: Redis) -> None:
    for queue in ("http", "sparql"):
        redis.add_event(queue, "progress", "another", data="1")


def told_progress(body: str) -> bool:
    return '"jobId":"another"' in body


def without_new(redis: Redis) -> None:
    redis.client.delete("bull:http:wait", f"bull:http:{HERE}-new", DEFAULT_STREAM)


def has_new(redis: Redis) -> object:
    return redis.client.hexists(f"bull:http:{HERE}-new", "timestamp")


def has_line(redis: Redis) -> bool:
    lines: Any = redis.client.xrange(DEFAULT_STREAM)
    return [fields[b"message"] for _, fields in lines] == [HERE.encode()]


def of_job(body: Any) -> bool:
    return bool(body == {"queue": "http", "jobId": HERE})


def of_queue(body: Any) -> bool:
    return bool(body == {"queue": "http"})


FAILED, DELAYED, COMPLETED = job_in("failed"), job_in("delayed"), job_in("completed")
NEW: Final = {"data": 1, "jobId": "ID-new"}
# From the beginning of both queues: {"http":"0-0","sparql":"0-0"}.
ALL: Final = "lastEventId=eyJodHRwIjoiMC0wIiwic3BhcnFsIjoiMC0wIn0"
OPERATIONS: Final = {
    "GET job": Operation("GET", "/jobs/http/ID", None, lambda body: body["returnvalue"] == 42),
    "GET job in flow": Operation("GET", "/jobs/http/ID", None, lambda body: body["returnvalue"] == 42),
    "GET flow": Operation("GET", "/jobs/http/ID?children=1", None, lambda body: body["tree"] == TREE, below_it),
    "GET job by query": Operation("GET", "/jobs?queue=http&jobId=ID", None, lambda body: body["returnvalue"] == 42),
    "GET whole event": Operation(
        "GET", "/jobs?queue=http&jobId=ID&event=1-0", None, lambda body: body["returnvalue"] == 42
    ),
    "GET job wait": Operation("GET", "/jobs/http/ID?wait=0.05", None, lambda body: body["returnvalue"] == 42),
    "GET log": Operation("GET", "/jobs/http/ID/logs", None, lambda body: body["lines"] == ["a line"]),
    "GET log by query": Operation("GET", "/job-logs?queue=http&jobId=ID", None, lambda body: body["total"] == 1),
    "GET queue's jobs": Operation(
        "GET", "/queues/http/jobs?state=completed", None, lambda body: len(body["jobs"]) == 1
    ),
    # What reads a single job does not read the queue's, also if the query names that job.
    "GET ... by query": Operation(
        "GET", "/queue-jobs?queue=http&jobId=ID&state=completed", None, lambda body: len(body["jobs"]) == 1
    ),
    "GET anywhere": Operation("GET", "/jobs/ID", None, lambda body: body["jobs"][0]["returnvalue"] == 42),
    "GET ... and wait": Operation("GET", "/jobs?jobId=ID&wait=0.05", None, lambda body: len(body["jobs"]) == 1),
    "POST lookup": Operation(
        "POST", "/lookup", [{"jobId": "ID", "queue": "http"}], lambda body: state(body) == "completed"
    ),
    "GET events": Operation(
        "GET", "/events?job=ID&queue=http&until=end", None, lambda body: "event: completed" in body
    ),
    "GET ... queue": Operation(
        "GET", f"/events?queue=http&events=*&{ALL}", None, told_progress, add_progress, until="event: progress"
    ),
    "GET ... every": Operation(
        *("GET", f"/events?queue=*&events=*&{ALL}", None, told_progress, add_progress),
        until="event: progress",
        own=told_progress,
    ),
    "GET ... numbers": Operation(
        *("GET", "/events?queue=http&events=queue-stats", None),
        lambda body: '"completed":1' in body,
        COMPLETED,
        until="event: queue-stats",
    ),
    "POST events": Operation(
        "POST",
        "/events?wait=0",
        [{"event": "subscribe-job", "data": {"jobId": "ID", "queue": "http"}}],
        lambda body: '"event":"completed"' in body,
    ),
    "POST ... flow": Operation(
        "POST",
        "/events?wait=0",
        [{"event": "subscribe-job", "data": {"jobId": "ID", "queue": "http", "children": True}}],
        lambda body: f'"tree":{json.dumps(TREE, separators=(",", ":"))}' in body,
        below_it,
    ),
    "POST ... queue": Operation(
        "POST",
        "/events?wait=0",
        [{"event": "subscribe-queue", "data": {"queue": "http", "events": ["*"], "after": "0-0"}, "ref": "ID"}],
        told_progress,
        add_progress,
    ),
    "POST ... numbers": Operation(
        "POST",
        "/events?wait=50",
        [{"event": "subscribe-queue", "data": {"queue": "http", "events": ["queue-stats"]}, "ref": "ID"}],
        lambda body: '"event":"queue-stats"' in body,
    ),
    "POST job": Operation("POST", "/jobs/http", NEW, lambda body: body["jobId"], without_new, has_new),
    "POST by query": Operation("POST", "/jobs?queue=http", NEW, lambda body: body["jobId"], without_new, has_new),
    "POST analyze": Operation(
        *("POST", "/analyze/http", {"id": "ID"}, lambda body: body["jobId"]),
        without_new,
        lambda redis: redis.client.llen("bull:http:wait") == 1,
    ),
    "GET queues": Operation(
        *("GET", "/queues", None, lambda body: body["queues"][0]["queue"] == "http"),
        own=lambda body: [each["queue"] for each in body["queues"]] == ["sparql"],
    ),
    "GET whoami": Operation("GET", "/whoami", None, lambda body: body["actions"]),
    "GET readyz": Operation("GET", "/readyz", None, lambda body: "http" in body["problems"]),
    "GET metrics": Operation("GET", "/metrics", None, lambda body: "jobws_queues 2.0" in body),
    "POST logs": Operation(
        "POST", "/logs", {"message": "ID"}, lambda body: body["accepted"] == 1, without_new, has_line
    ),
    "POST retry": Operation("POST", "/jobs/http/ID/retry", None, of_job, FAILED, waits),
    "POST promote": Operation("POST", "/jobs/http/ID/promote", None, of_job, DELAYED, waits),
    "DELETE job": Operation("DELETE", "/jobs/http/ID", None, of_job, COMPLETED, is_gone),
    "DELETE flow": Operation("DELETE", "/jobs/http/ID?children=1", None, of_job, COMPLETED, is_gone),
    "POST action": Operation("POST", "/actions?action=remove&queue=http&jobId=ID", None, of_job, COMPLETED, is_gone),
    "POST ... retry": Operation("POST", "/actions?action=retry&queue=http&jobId=ID", None, of_job, FAILED, waits),
    "POST ... promote": Operation("POST", "/actions?action=promote&queue=http&jobId=ID", None, of_job, DELAYED, waits),
    "POST ... below": Operation(
        "POST", "/actions?action=remove&queue=http&jobId=ID&children=1", None, of_job, COMPLETED, is_gone
    ),
    "POST ... failed": Operation(
        "POST", "/actions?action=retry-failed&queue=http", None, lambda body: body["failed"] == 1, FAILED, waits_soon
    ),
    "POST ... pause": Operation("POST", "/actions?action=pause&queue=http", None, of_queue, resume, is_paused),
    "POST ... resume": Operation(
        "POST", "/actions?action=resume&queue=http", None, of_queue, pause, lambda redis: not is_paused(redis)
    ),
    "POST failed": Operation(
        "POST", "/queues/http/retry", None, lambda body: body == {"queue": "http", "failed": 1}, FAILED, waits_soon
    ),
    "POST pause": Operation("POST", "/queues/http/pause", None, of_queue, resume, is_paused),
    "POST resume": Operation("POST", "/queues/http/resume", None, of_queue, pause, lambda redis: not is_paused(redis)),
}


def send(url: str, name: str, job_id: str, token: str | None) -> Answer:
    operation = OPERATIONS[name]
    body = None if operation.body is None else json.loads(json.dumps(operation.body).replace("ID", job_id))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    path = operation.path.replace("=ID", f"={job_id}").replace("/ID", f"/{job_id}")
    return exchange(operation.method, url + path, body, headers, operation.until)


def serves(route: tuple[str, str], operation: Operation) -> bool:
    """Whether a request of the table is for this route."""
    method, path = route
    pattern = re.sub(r"{\w+}", "[^/?]+", path)
    return operation.method == method and re.fullmatch(rf"{pattern}(\?.*)?", operation.path) is not None
