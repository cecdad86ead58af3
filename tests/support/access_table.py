"""What the table of access needs: the tokens of its columns, and what Redis is asked meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from tests.support.signing import SECRET
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.redis import Redis

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


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table with a line for each row."""
    return [[part.strip() for part in line.split("|")] for line in table.strip().splitlines()]
