"""Who may do what over WebSockets: the table in `tests.support.access_table`.

Each allowed cell shows its effect. Each refused one is the same, byte for byte, for a job that exists and for one that
does not, and costs no command of Redis that names the job.
"""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import pytest

from jobws.protocol import requests
from jobws.protocol.log import requests as log_requests
from tests.support.access_table import WEBSOCKETS, add_below, make_jobs, no_command_names, rows, tokens
from tests.support.authorizer import scope_authorizer
from tests.support.client import raw_client
from tests.support.mounted import mounted_bridge
from tests.support.signing import SECRET
from tests.support.tokens import keyed_bridge
from tests.support.websocket_operations import HERE, OPERATIONS, send

if TYPE_CHECKING:
    from tests.support.redis import Redis

FORBIDDEN: Final = "the token does not allow this"
# How many frames follow the answer, if it is an ack and what was asked for is there.
FOLLOWING: Final = {
    **dict.fromkeys([name for name in OPERATIONS if name.startswith("subscribe-job")], 1),
    **{"subscribe-job with lines": 2, "subscribe-queue": 1, "subscribe-queue drained": 2, "subscribe-queue numbers": 1},
    **{"subscribe-queue every": 1, "subscribe-logs": 2, "subscribe-logs of queue": 1, "subscribe-logs live": 2},
}
ROWS: Final = rows(WEBSOCKETS)


async def answer(url: str, redis: Redis, name: str, job_id: str, token: str | None, cell: str) -> list[str]:
    headers = [] if token is None else [("Authorization", f"Bearer {token}")]
    async with raw_client(url, headers=headers, path=OPERATIONS[name].path) as client:
        if cell.isdigit():
            code, reason = await client.closed()
            return [f"{code} {reason}"]
        following = {"yes": FOLLOWING.get(name, 0), "some": 1}.get(cell, 0)
        texts = await send(client, name, job_id)
        if following:
            OPERATIONS[name].then(redis)
        return texts + [await client.receive_text() for _ in range(following)]


async def check_row(url: str, redis: Redis, row: list[str]) -> None:
    name, right, narrower, cells = row
    for column, cell in enumerate(cells.split()):
        gone = f"{column}gone"
        here, missing = (tokens(right, narrower, job_id)[column] for job_id in (HERE, gone))
        if cell == "yes":
            frames = [json.loads(text) for text in await answer(url, redis, name, HERE, here, cell)]
            assert OPERATIONS[name].shows(frames), (column, frames)
            continue
        with no_command_names(redis, HERE, gone):
            received = await answer(url, redis, name, HERE, here, cell)
            again = await answer(url, redis, name, gone, missing, cell)
        if cell != "some":  # what the client may read has other ids and times
            assert [text.replace(gone, HERE) for text in again] == received, column
        check_refusal(cell, received, column)


def check_refusal(cell: str, received: list[str], column: int) -> None:
    if cell.isdigit():
        assert received[0].startswith(cell), (column, received)
        return
    data = json.loads(received[0])["data"]
    results = data.get("results", [{"error": data}])
    match cell:
        case "asks":
            assert data["code"] == "unauthenticated"
        case "no":
            assert [(each["error"]["code"], each["error"]["message"]) for each in results] == [("forbidden", FORBIDDEN)]
        case "none":  # the job is sought in the other queue alone
            assert (data["jobs"], data["unknown"], data["after"]) == ([], True, {})
        case "own":  # the subscription is to the other queue alone
            assert data["after"].keys() == {"sparql"}
        case "self":
            assert data["left"] is False
        case "some":
            data = json.loads(received[1])["data"]
            assert data.get("message", data.get("jobId")) in ("of sparql", "another")
        case _:
            raise AssertionError(cell)


@pytest.fixture
def jobs(redis: Redis) -> Redis:
    make_jobs(redis, HERE)
    add_below(redis, HERE)
    redis.add_log("of http", queue="http", jobId=HERE)
    redis.add_log("of sparql", queue="sparql")
    return redis


@pytest.mark.parametrize("direct", [True, pytest.param(False, marks=pytest.mark.thorough)], ids=["direct", "asgi"])
@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
async def test_a_row_of_the_table(jobs: Redis, row: list[str], *, direct: bool) -> None:
    async with keyed_bridge(jobs.url, queues=("http", "sparql"), direct=direct) as live:
        await check_row(live.url, jobs, row)


@pytest.mark.thorough
async def test_a_mounted_bridge_has_the_same_table(jobs: Redis) -> None:
    with ExitStack() as mounted:
        bridge = mounted_bridge(jobs.url, "starlette", queues=("http", "sparql"), jwt_secret=SECRET.decode())
        url = await anyio.to_thread.run_sync(mounted.enter_context, bridge)
        for row in ROWS:
            await check_row(url, jobs, row)


@pytest.mark.thorough
async def test_an_authorizer_that_reads_scopes_makes_the_same_table(jobs: Redis) -> None:
    with scope_authorizer() as authorizer:
        asking: dict[str, Any] = {"authorize_url": authorizer.url, "authorize_seconds": 30}
        async with keyed_bridge(jobs.url, queues=("http", "sparql"), **asking) as live:
            for row in ROWS:
                await check_row(live.url, jobs, row)


def test_each_request_has_a_row() -> None:
    known = {*requests._KNOWN.split(", "), *log_requests._KNOWN.split(", ")}
    assert known == {row[0].split(" ")[0] for row in ROWS}
    assert OPERATIONS.keys() == {row[0] for row in ROWS}


def test_the_table_is_whole() -> None:
    assert all(len(re.split(r" +", row[3])) == 9 for row in ROWS)
