"""The table of access, written by hand: who may do what over HTTP and over WebSockets. And what its tests need."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.support.signing import SECRET
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis

# Columns of all tables: the operation; the right that it needs; rights that are near it and not enough; and what is
# answered to a client without a token, with one of another signature, an expired one, one that is not valid yet, one
# with every right for another queue, one with every right for another job, one with the rights of the third column, one
# with the right of the second column, and an admin.
#
# A cell is the status. `no` is the status 200 with a refusal in place of the job, and `own` the status 200 with the
# other queue alone. The last row follows a flow, which the bridge may look at again after its client has left.
HTTP: Final = """
GET job          | read:jobs:http/ID          | write:jobs:http read:queues:http  | 401 401 401 401 403 403 403 200 200
GET job in flow  | read:jobs:http/ID:children | read:jobs:http/xID:children       | 401 401 401 401 403 403 403 200 200
GET flow         | read:jobs:http/ID:children | read:jobs:http/xID:children       | 401 401 401 401 403 403 403 200 200
GET job by query | read:jobs:*/ID             | read:jobs:*/IDx read:queues:*     | 401 401 401 401 403 403 403 200 200
GET whole event  | read:jobs:http/ID          | write:jobs:http read:queues:http  | 401 401 401 401 403 403 403 200 200
GET job wait     | read:jobs:http/ID          | write:jobs:http read:queues:http  | 401 401 401 401 403 403 403 200 200
GET log          | read:jobs:http/ID          | write:jobs:http read:logs         | 401 401 401 401 403 403 403 200 200
GET log by query | read:jobs:http             | read:jobs:http/IDx read:logs      | 401 401 401 401 403 403 403 200 200
GET queue's jobs | read:jobs:http             | read:jobs:http/ID read:queues:*   | 401 401 401 401 403 403 403 200 200
GET ... by query | read:jobs:http             | read:jobs:http/ID read:queues:*   | 401 401 401 401 403 403 403 200 200
GET anywhere     | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401 404 403 403 200 200
GET ... and wait | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401 404 403 403 200 200
POST lookup      | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401  no  no 403 200 200
GET events       | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401 403 403 403 200 200
GET ... queue    | read:jobs:http             | read:jobs:http/ID read:queues:*   | 401 401 401 401 403 403 403 200 200
GET ... every    | read:jobs:http             | read:jobs:*/ID read:queues:*      | 401 401 401 401 own 403 403 200 200
GET ... numbers  | read:queues:http           | read:jobs:* write:queues:*:retry  | 401 401 401 401 403 403 403 200 200
POST events      | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401  no  no  no 200 200
POST ... queue   | read:jobs:http             | read:jobs:http/ID read:queues:*   | 401 401 401 401  no  no  no 200 200
POST ... numbers | read:queues:http           | read:jobs:* write:queues:*:retry  | 401 401 401 401  no  no  no 200 200
POST job         | write:jobs:http            | read:jobs:* write:jobs:http:retry | 401 401 401 401 403 403 403 202 202
POST by query    | write:jobs:*               | read:jobs:* write:jobs:*:retry    | 401 401 401 401 403 403 403 202 202
POST analyze     | write:jobs:http            | read:jobs:* write:queues:*:retry  | 401 401 401 401 403 403 403 202 202
GET queues       | read:queues:http           | read:jobs:http write:jobs:http    | 401 401 401 401 own 403 403 200 200
GET metrics      | read:metrics               | read:jobs:* read:queues:*         | 401 401 401 401 403 403 403 200 200
POST logs        | write:logs                 | read:logs write:jobs:*            | 401 401 401 401 403 403 403 202 202
POST retry       | write:jobs:http/ID:retry   | write:jobs:* write:queues:*:retry | 401 401 401 401 403 403 403 200 200
POST promote     | write:jobs:http:promote    | write:jobs:*:retry read:jobs:*    | 401 401 401 401 403 403 403 200 200
DELETE job       | write:jobs:http/ID:remove  | write:jobs:*:promote read:jobs:*  | 401 401 401 401 403 403 403 200 200
DELETE flow      | write:jobs:*/ID:remove     | write:jobs:*/IDx:remove           | 401 401 401 401 403 403 403 200 200
POST action      | write:jobs:http/ID:remove  | write:jobs:http/ID:retry          | 401 401 401 401 403 403 403 200 200
POST ... retry   | write:jobs:*/ID:retry      | write:jobs:http/ID:remove         | 401 401 401 401 403 403 403 200 200
POST ... promote | write:jobs:http/ID:promote | write:jobs:*:retry read:jobs:*    | 401 401 401 401 403 403 403 200 200
POST ... below   | write:jobs:http/ID:remove  | write:jobs:*/IDx:remove           | 401 401 401 401 403 403 403 200 200
POST ... failed  | write:queues:*:retry       | write:jobs:*:retry read:queues:*  | 401 401 401 401 403 403 403 202 202
POST ... pause   | write:queues:*:pause       | write:jobs:* write:queues:*:retry | 401 401 401 401 403 403 403 200 200
POST ... resume  | write:queues:http:resume   | write:queues:*:pause write:jobs:* | 401 401 401 401 403 403 403 200 200
POST failed      | write:queues:http:retry    | write:jobs:*:retry read:queues:*  | 401 401 401 401 403 403 403 202 202
POST pause       | write:queues:http:pause    | write:queues:*:resume             | 401 401 401 401 403 403 403 200 200
POST resume      | write:queues:*:resume      | write:queues:*:pause write:jobs:* | 401 401 401 401 403 403 403 200 200
POST ... flow    | read:jobs:http/ID:children | read:jobs:http/xID:children       | 401 401 401 401  no  no  no 200 200
"""
# Any token will do. An authorizer is asked for the numbers of each queue.
WHOAMI: Final = """
GET whoami       | write:logs                 | read:metrics                      | 401 401 401 401 200 200 200 200 200
"""
WHOAMI_ASKED: Final = """
GET whoami       | read:queues:http           | read:jobs:* write:logs            | 401 401 401 401 200 403 403 200 200
"""
# Whether the answer, which everyone gets, says why a queue is not read.
READINESS: Final = """
GET readyz       | read:metrics               | read:jobs:* read:queues:*         |  no  no  no  no  no  no  no yes yes
"""
# `yes` is the effect, `asks` the error `unauthenticated`, `no` the error `forbidden`, and a number the close code after
# `hello`. In `self` the client has no subscription, so there is none to leave. In `none` the job is not found. In
# `some` the client gets the rest: lines of the other queue, or the queue's events that belong to jobs.
WEBSOCKETS: Final = """
subscribe-job            | read:jobs:http/ID          | write:jobs:http read:queues:*   | asks 4500 4001 4500 no   no   no   yes yes
subscribe-job in flow    | read:jobs:http/ID:children | read:jobs:http/xID:children     | asks 4500 4001 4500 no   no   no   yes yes
subscribe-job anywhere   | read:jobs:*/ID             | read:jobs:*/IDx read:queues:*   | asks 4500 4001 4500 none no   no   yes yes
subscribe-job with lines | read:jobs:http             | read:jobs:http/IDx read:logs    | asks 4500 4001 4500 no   no   no   yes yes
subscribe-job again      | read:jobs:*                | read:queues:* write:jobs:*      | asks 4500 4001 4500 no   no   no   yes yes
subscribe-job in a list  | read:jobs:http/ID          | read:logs read:metrics          | asks 4500 4001 4500 no   no   no   yes yes
unsubscribe-job          | read:jobs:http/ID          | read:jobs:http/IDx              | asks 4500 4001 4500 self self self yes yes
subscribe-queue          | read:jobs:http             | read:jobs:http/ID read:queues:* | asks 4500 4001 4500 no   no   no   yes yes
subscribe-queue drained  | read:jobs:* read:queues:*  | read:jobs:http write:jobs:http  | asks 4500 4001 4500 no   no   some yes yes
subscribe-queue every    | read:jobs:http             | read:jobs:*/ID read:queues:*    | asks 4500 4001 4500 own  no   no   yes yes
subscribe-queue numbers  | read:queues:http           | read:jobs:* write:queues:http:retry | asks 4500 4001 4500 no   no   no   yes yes
unsubscribe-queue        | read:jobs:http             | read:jobs:http/ID read:queues:* | asks 4500 4001 4500 self self self yes yes
ping                     | write:logs                 | read:metrics                    | yes  4500 4001 4500 yes  yes  yes  yes yes
authenticate             | write:logs                 | read:metrics                    | yes  4500 4001 4500 yes  yes  yes  yes yes
subscribe-logs           | read:logs                  | read:jobs:* write:logs          | asks 4500 4001 4500 some no   no   yes yes
subscribe-logs of queue  | read:logs:http             | read:logs:httpx read:jobs:*     | asks 4500 4001 4500 no   no   no   yes yes
subscribe-logs live      | read:logs                  | read:jobs:* write:logs          | asks 4500 4001 4500 some no   no   yes yes
unsubscribe-logs         | read:logs                  | read:jobs:* write:logs          | asks 4500 4001 4500 yes  yes  yes  yes yes
ping for lines           | read:logs                  | read:jobs:* write:logs          | yes  4500 4001 4500 yes  yes  yes  yes yes
authenticate for lines   | read:logs                  | read:jobs:* write:logs          | yes  4500 4001 4500 yes  yes  yes  yes yes
"""  # noqa: E501 - a table

OTHER_QUEUE: Final = (
    "read:jobs:sparql read:queues:sparql write:jobs:sparql read:logs:sparql "
    "write:jobs:sparql:retry write:jobs:sparql:promote write:jobs:sparql:remove "
    "write:queues:sparql:retry write:queues:sparql:pause write:queues:sparql:resume"
)
OTHER_JOB: Final = (
    "read:jobs:http/other:children "
    "write:jobs:http/other:retry write:jobs:http/other:promote write:jobs:http/other:remove"
)


@contextmanager
def no_command_names(redis: Redis, *job_ids: str) -> Iterator[None]:
    """Fails if Redis is sent a command about one of the jobs meanwhile."""
    monitor: Any = redis.client.monitor()  # type: ignore[no-untyped-call]
    with monitor:
        yield
        redis.client.echo("the end")
        commands = []
        while "the end" not in (command := monitor.next_command()["command"]):
            commands.append(command)
    assert not [command for command in commands if any(f":http:{job_id}" in command for job_id in job_ids)]


def tokens(right: str, narrower: str, job_id: str) -> list[str | None]:
    """The tokens of the columns."""
    right, narrower = (scope.replace("ID", job_id) for scope in (right, narrower))
    return [
        None,
        jwt(right, key=SECRET[::-1]),
        jwt(right, seconds=-60),
        jwt(right, nbf=2**33),
        jwt(OTHER_QUEUE),
        jwt(OTHER_JOB),
        jwt(narrower),
        jwt(right),
        jwt("admin"),
    ]


def make_jobs(redis: Redis, job_id: str) -> None:
    """Make the queues `http` and `sparql`. `http` has a job with this id, which has completed and has a log line."""
    redis.make_queue("http")
    redis.make_queue("sparql")
    redis.add_job("http", job_id, state="completed", returnvalue="42", finishedOn=1)
    redis.client.rpush(f"bull:http:{job_id}:logs", "a line")


def add_below(redis: Redis, job_id: str) -> None:
    """Put a job of the queue `sparql`, which has completed, below this job of `http`."""
    redis.add_job("sparql", "below", state="completed", returnvalue="1", finishedOn=1)
    redis.client.hset(f"bull:http:{job_id}:processed", "bull:sparql:below", "1")


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table with a line for each row."""
    return [[part.strip() for part in line.split("|")] for line in table.strip().splitlines()]
