"""Who may do what over HTTP: the table in `tests.support.access_table`.

The bridge has the rights in Redis that docs/deployment.md names, and no others.

Each allowed cell shows its effect. Each refused one is the same, byte for byte, for a job that exists and for one that
does not, and costs no command of Redis that names the job.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import pytest

from tests.support import eventually
from tests.support.access_operations import HERE, OPERATIONS, send, serves
from tests.support.access_table import HTTP, READINESS, WHOAMI, WHOAMI_ASKED, make_jobs, no_command_names, rows, tokens
from tests.support.authorizer import scope_authorizer
from tests.support.http import Answer, exchange
from tests.support.mounted import mounted_bridge
from tests.support.redis_users import user
from tests.support.signing import SECRET
from tests.support.tokens import jwt, keyed_bridge

if TYPE_CHECKING:
    from tests.support.redis import Redis

ROWS: Final = [*rows(WHOAMI), *rows(HTTP)]


def check_row(url: str, redis: Redis, row: list[str]) -> None:
    name, right, narrower, statuses = row
    for column, cell in enumerate(statuses.split()):
        expected = 200 if cell in ("no", "own") else int(cell)
        gone = f"{column}gone"
        here, missing = (tokens(right, narrower, job_id)[column] for job_id in (HERE, gone))
        if cell != "no" and expected < 400:
            OPERATIONS[name].before(redis)
            answer = send(url, name, HERE, here)
            assert answer.status == expected, (column, answer)
            shows = OPERATIONS[name].own if cell == "own" else OPERATIONS[name].shows
            assert shows(answer.content()), (column, answer)
            assert cell != "own" or b'"http"' not in answer.body
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
    with user(jobs, "on", "+evalsha", "+watch") as redis_url:
        async with keyed_bridge(redis_url, queues=("http", "sparql")) as live:
            await anyio.to_thread.run_sync(partial(check_row, live.url, jobs, row))


@pytest.mark.thorough
async def test_an_authorizer_that_reads_scopes_makes_the_same_table(jobs: Redis) -> None:
    with scope_authorizer() as authorizer:
        asking: dict[str, Any] = {"authorize_url": authorizer.url, "authorize_seconds": 30}
        async with keyed_bridge(jobs.url, queues=("http", "sparql"), **asking) as live:
            for name, right, narrower, statuses in (*rows(WHOAMI_ASKED), *rows(HTTP)):
                # It is asked about each item, so these never know that a token has no right to any job.
                cells = statuses.replace("403", "no") if name in ("POST lookup", "POST events") else statuses
                await anyio.to_thread.run_sync(partial(check_row, live.url, jobs, [name, right, narrower, cells]))


@pytest.mark.thorough
def test_a_mounted_bridge_has_the_same_table(jobs: Redis) -> None:
    with mounted_bridge(jobs.url, "starlette", queues=("http", "sparql"), jwt_secret=SECRET.decode()) as url:
        for row in ROWS:
            check_row(url, jobs, row)


async def test_who_is_told_why_a_queue_is_not_read(redis: Redis) -> None:
    ((name, right, narrower, cells),) = rows(READINESS)
    redis.client.set("bull:http:events", "no stream")
    async with keyed_bridge(redis.url, queues=("http",), ready=False) as live:
        await eventually(lambda: send(live.url, name, HERE, jwt("admin")).content()["problems"] != {})
        for cell, token in zip(cells.split(), tokens(right, narrower, HERE), strict=True):
            answer = await anyio.to_thread.run_sync(send, live.url, name, HERE, token)
            assert answer.status == 503
            assert OPERATIONS[name].shows(answer.content()) == (cell == "yes")
            assert cell == "yes" or answer.content() == {"ready": False, "problems": {}}


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
    without_row = [route for route in found if not any(map(partial(serves, route), OPERATIONS.values()))]
    assert 403 not in map(found.get, without_row)
    assert {path for _, path in without_row} == {
        *("/healthz", "/jobws.js", "/jobws-http.js", "/jobws-all.js", "/jobws-queues.js"),
        *("/elements.js", "/src/{module}", "/src/elements/{module}"),
        *("/", "/page.js", "/page.css", "/page.svg"),
    }
