"""Who may do what, over HTTP and over WebSockets: two tables, written by hand. A cell is what is answered.

Each allowed cell shows its effect. Each refused one is the same, byte for byte, for a job that exists and for one that
does not, and costs no command of Redis that names the job.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio.to_thread
import pytest

from tests.support.access_operations import HERE, OPERATIONS, send, serves
from tests.support.access_table import make_jobs, no_command_names, rows, tokens
from tests.support.client import raw_client
from tests.support.http import Answer, exchange
from tests.support.mounted import mounted_bridge
from tests.support.signing import SECRET
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

# Columns: the operation; the right that it needs; rights that are near it and not enough; and the status for a client
# without a token, with one of another signature, an expired one, one that is not valid yet, one with every right for
# another queue, one with every right for another job, one with the rights of the third column, one with the right of
# the second column, and an admin. `no` is the status 200 with a refusal in place of the job.
TABLE: Final = """
GET job          | read:jobs:http/ID          | write:jobs:http read:queues:http  | 401 401 401 401 403 403 403 200 200
GET job in flow  | read:jobs:http/ID:children | read:jobs:http/xID:children       | 401 401 401 401 403 403 403 200 200
GET job by query | read:jobs:*/ID             | read:jobs:*/IDx read:queues:*     | 401 401 401 401 403 403 403 200 200
GET whole event  | read:jobs:http/ID          | write:jobs:http read:queues:http  | 401 401 401 401 403 403 403 200 200
GET job wait     | read:jobs:http/ID          | write:jobs:http read:queues:http  | 401 401 401 401 403 403 403 200 200
GET log          | read:jobs:http/ID          | write:jobs:http read:logs         | 401 401 401 401 403 403 403 200 200
GET log by query | read:jobs:http             | read:jobs:http/IDx read:logs      | 401 401 401 401 403 403 403 200 200
GET queue's jobs | read:jobs:http             | read:jobs:http/ID read:queues:*   | 401 401 401 401 403 403 403 200 200
GET anywhere     | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401 404 403 403 200 200
GET ... and wait | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401 404 403 403 200 200
POST lookup      | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401  no  no 403 200 200
GET events       | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401 403 403 403 200 200
POST events      | read:jobs:http/ID          | write:jobs:* read:queues:*        | 401 401 401 401  no  no 403 200 200
POST ... queue   | read:jobs:http             | read:jobs:http/ID read:queues:*   | 401 401 401 401  no  no  no 200 200
POST job         | write:jobs:http            | read:jobs:* write:jobs:http:retry | 401 401 401 401 403 403 403 202 202
POST by query    | write:jobs:*               | read:jobs:* write:jobs:*:retry    | 401 401 401 401 403 403 403 202 202
POST analyze     | write:jobs:http            | read:jobs:* write:queues:*:retry  | 401 401 401 401 403 403 403 202 202
GET queues       | read:queues:http           | read:jobs:http write:jobs:http    | 401 401 401 401 200 403 403 200 200
GET metrics      | read:metrics               | read:jobs:* read:queues:*         | 401 401 401 401 403 403 403 200 200
POST logs        | write:logs                 | read:logs write:jobs:*            | 401 401 401 401 403 403 403 202 202
POST retry       | write:jobs:http/ID:retry   | write:jobs:* write:queues:*:retry | 401 401 401 401 403 403 403 200 200
POST promote     | write:jobs:http:promote    | write:jobs:*:retry read:jobs:*    | 401 401 401 401 403 403 403 200 200
DELETE job       | write:jobs:http/ID:remove  | write:jobs:*:promote read:jobs:*  | 401 401 401 401 403 403 403 200 200
DELETE flow      | write:jobs:*/ID:remove     | write:jobs:*/IDx:remove           | 401 401 401 401 403 403 403 200 200
POST action      | write:jobs:http/ID:remove  | write:jobs:http/ID:retry          | 401 401 401 401 403 403 403 200 200
POST ... retry   | write:jobs:*/ID:retry      | write:jobs:http/ID:remove         | 401 401 401 401 403 403 403 200 200
POST ... pause   | write:queues:*:pause       | write:jobs:* write:queues:*:retry | 401 401 401 401 403 403 403 200 200
POST failed      | write:queues:http:retry    | write:jobs:*:retry read:queues:*  | 401 401 401 401 403 403 403 202 202
POST pause       | write:queues:http:pause    | write:queues:*:resume             | 401 401 401 401 403 403 403 200 200
POST resume      | write:queues:*:resume      | write:queues:*:pause write:jobs:* | 401 401 401 401 403 403 403 200 200
"""
# The same over WebSockets: the answer to the request (`ack`; `auth` asks for a token; `no` is a refusal; `own` is about
# nothing of this job), or the code with which the connection ends.
WEBSOCKETS: Final = """
subscribe-job      | read:jobs:http/ID | write:jobs:* read:queues:*      | auth 4500 4001 4500 no  no  no  ack ack
subscribe-job any  | read:jobs:http/ID | write:jobs:* read:queues:*      | auth 4500 4001 4500 own no  no  ack ack
subscribe-queue    | read:jobs:http    | read:jobs:http/ID read:queues:* | auth 4500 4001 4500 no  no  no  ack ack
subscribe-logs     | read:logs:http    | read:jobs:* write:logs          | auth 4500 4001 4500 no  no  no  ack ack
subscribe-logs all | read:logs         | read:jobs:* write:logs          | auth 4500 4001 4500 own no  no  ack ack
"""
ROWS: Final = rows(TABLE)


class Subscription(NamedTuple):
    """The data of a request to subscribe, and the event that follows the answer where it is allowed."""

    path: str
    data: Any
    received: str


SUBSCRIPTIONS: Final = {
    "subscribe-job": Subscription("/ws", {"jobId": "ID", "queue": "http"}, "completed"),
    "subscribe-job any": Subscription("/ws", {"jobId": "ID"}, "completed"),
    "subscribe-queue": Subscription("/ws", {"queue": "http", "events": ["*"]}, "progress"),
    "subscribe-logs": Subscription("/logs", {"queue": "http"}, "log"),
    "subscribe-logs all": Subscription("/logs", {}, "log"),
}
ANSWERS: Final = {"auth": '"code": "unauthenticated"', "no": '"code": "forbidden"', "own": '"event": "ack"'}


def check_row(url: str, redis: Redis, row: list[str]) -> None:
    name, right, narrower, statuses = row
    for column, cell in enumerate(statuses.split()):
        expected = 200 if cell == "no" else int(cell)
        gone = f"{column}gone"
        here, missing = (tokens(right, narrower, job_id)[column] for job_id in (HERE, gone))
        if cell != "no" and expected < 400:
            OPERATIONS[name].before(redis)
            answer = send(url, name, HERE, here)
            assert answer.status == expected, (column, answer)
            assert OPERATIONS[name].shows(answer.content()), (column, answer)
            assert OPERATIONS[name].changed(redis), column
            continue
        with no_command_names(redis, HERE, gone):
            answer = send(url, name, HERE, here)
            assert answer.status == expected, (column, answer)
            assert same(send(url, name, gone, missing), gone) == same(answer, HERE)
            assert b'"returnvalue"' not in answer.body
            assert cell != "no" or b'"code":"forbidden"' in answer.body


def same(answer: Answer, job_id: str) -> Answer:
    """The answer, without the id that it repeats of the request."""
    return answer._replace(body=answer.body.replace(job_id.encode(), b"ID"))


@pytest.fixture
def jobs(redis: Redis) -> Redis:
    make_jobs(redis, HERE)
    return redis


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
async def test_a_row_of_the_table(jobs: Redis, row: list[str]) -> None:
    async with keyed_bridge(jobs.url, queues=("http", "sparql")) as live:
        await anyio.to_thread.run_sync(partial(check_row, live.url, jobs, row))


@pytest.mark.parametrize("row", rows(WEBSOCKETS), ids=[row[0] for row in rows(WEBSOCKETS)])
async def test_a_row_of_the_table_of_websockets(jobs: Redis, row: list[str]) -> None:
    name, right, narrower, cells = row
    async with keyed_bridge(jobs.url, queues=("http", "sparql")) as live:
        for column, cell in enumerate(cells.split()):
            gone = f"{column}gone"
            here, missing = (tokens(right, narrower, job_id)[column] for job_id in (HERE, gone))
            if cell == "ack":
                assert await subscribe(live.url, name, HERE, here, cell, jobs) == SUBSCRIPTIONS[name].received
                continue
            with no_command_names(jobs, HERE, gone):
                answer = await subscribe(live.url, name, HERE, here, cell)
                assert answer == await subscribe(live.url, name, gone, missing, cell), column
            assert ANSWERS.get(cell, cell) in answer, (column, answer)


async def subscribe(url: str, name: str, job_id: str, token: str | None, cell: str, redis: Redis | None = None) -> str:
    """Return the answer without the id, or the code with which the connection ends. With Redis, return the name of the
    event that follows the answer.
    """
    subscription = SUBSCRIPTIONS[name]
    headers = [] if token is None else [("Authorization", f"Bearer {token}")]
    async with raw_client(url, path=subscription.path, headers=headers) as client:
        if cell.isdigit():
            return str((await client.closed())[0])
        data = json.loads(json.dumps(subscription.data).replace("ID", job_id))
        frame = await client.ask(name.split()[0], data)
        if redis is None:
            return json.dumps(frame).replace(job_id, "ID")
        assert frame["event"] == "ack", frame
        redis.add_event("http", "progress", "another", data="1")
        redis.add_log("a line", queue="http")
        received: str = (await client.receive())["event"]
        return received


@pytest.mark.thorough
def test_a_mounted_bridge_has_the_same_table(jobs: Redis) -> None:
    with mounted_bridge(jobs.url, "starlette", queues=("http", "sparql"), jwt_secret=SECRET.decode()) as url:
        for row in ROWS:
            check_row(url, jobs, row)


async def test_without_rights_only_the_public_list_is_served(redis: Redis) -> None:
    """Each route that is not public has a row in the table."""
    async with keyed_bridge(redis.url, queues=("http",)) as live:

        def answers() -> dict[tuple[str, str], int]:
            paths = exchange("GET", live.url + "/openapi.json", None, {}).content()["paths"]
            headers = {"Authorization": f"Bearer {jwt('write:jobs:none')}"}
            return {
                (method.upper(), path): exchange(method.upper(), live.url + path, None, headers).status
                for path, item in paths.items()
                for method in item
            }

        found = await anyio.to_thread.run_sync(answers)
    public = {path for (method, path), status in found.items() if status != 403}
    missing = [
        route
        for route, status in found.items()
        if status == 403 and not any(map(partial(serves, route), OPERATIONS.values()))
    ]
    assert not missing
    assert public == {
        *("/whoami", "/healthz", "/readyz", "/jobws.js", "/jobws-http.js", "/jobws-all.js"),
        "/src/{module}",
    }
