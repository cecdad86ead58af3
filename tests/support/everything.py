"""Uses every route and every request of a bridge, while jobs have a value that some rules hide, and keeps all that it
tells.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import anyio.to_thread
from redis import from_url as connect
from starlette.routing import WebSocketRoute

from jobws.protocol.job_log_position import digest
from tests.support import eventually
from tests.support.bridge import routes_of
from tests.support.client import RawClient, raw_client
from tests.support.event_source import event_source
from tests.support.flows import add_child, flow_bridge
from tests.support.http import Answer, exchange
from tests.support.recorded import recorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from tests.support.bridge import Live
    from tests.support.redis import Redis

CORE: Final = "geheimnisvoll7"
SECRET: Final = f'x"{CORE}"\n\u00e9'
PUBLIC: Final = "offen5"
REDACT: Final = (
    *("http:data.user.password", "http:progress.*.token", "http:returnvalue.rows.*.secret", "http:failedReason"),
    *("http:logs", "http:note", "http:name"),
)
DATA: Final = json.dumps({"user": {"password": SECRET, "name": PUBLIC}})
PROGRESS: Final = json.dumps({PUBLIC: {"token": SECRET}, "done": [1.0]})
ROWS: Final = json.dumps({"rows": [{"secret": SECRET}, {"secret": {"of": [SECRET]}, "n": PUBLIC}]}, ensure_ascii=False)
DOUBLED: Final = f'{{"rows":[{{"secret":"{CORE}","secret":1}}]}}'
LARGE: Final = json.dumps({"rows": [{"secret": SECRET, "n": PUBLIC * 500}]})
TRACE: Final = json.dumps([f"Error: {SECRET}\n at x"])
SUBSCRIPTION: Final = {"jobs": ["1", "2", "3", "4", "5"], "queue": "http", "events": ["*"], "logs": True, "after": {}}
FLOW: Final = {"jobId": "top", "queue": "open", "children": True, "events": ["*"], "sub": "flow"}
WHOLE_QUEUE: Final = {"queue": "http", "sub": "again", "events": ["*", "queue-stats"], "after": {"http": "0-0"}}
# All requests of `/ws` and of `/logs`, as their own sentences have them.
SENT: Final = ("subscribe-job", "unsubscribe-job", "subscribe-queue", "unsubscribe-queue", "ping", "authenticate")
SENT_TO_LOGS: Final = ("subscribe-logs", "unsubscribe-logs", "ping", "authenticate")
FOLLOWING: Final[list[dict[str, Any]]] = [
    *({"event": "subscribe-job", "data": data} for data in (SUBSCRIPTION, FLOW)),
    {"event": "subscribe-queue", "data": WHOLE_QUEUE},
]
LEAVING: Final[list[dict[str, Any]]] = [
    *({"event": "unsubscribe-job", "data": data} for data in (SUBSCRIPTION, FLOW)),
    *({"event": "unsubscribe-queue", "data": WHOLE_QUEUE}, {"event": "ping"}, {"event": SECRET}),
    {"event": "authenticate", "data": {"token": "a.b.c"}},
]
# Each operation of /openapi.json, and what is sent for it; a question mark is followed by what the query is.
REQUESTS: Final[dict[str, list[tuple[str, Any]]]] = {
    "GET /jobs": [
        *(("/jobs?queue=http&jobId=" + job_id, None) for job_id in "12345"),
        *(("/jobs?jobId=1", None), ("/jobs?queue=http&jobId=3&wait=0.01", None), ("/jobs?queue=sparql&jobId=1", None)),
        *(("/jobs?queue=open&jobId=top&children=1", None), ("/jobs?queue=http&jobId=6&children=1", None)),
        ("/jobs?queue=http&jobId=1&event=7", None),
    ],
    "POST /jobs": [
        ("/jobs?queue=http", {"data": json.loads(DATA), "name": SECRET}),
        ("/jobs?queue=http", {"data": json.loads(DATA), "opts": {"delay": SECRET}}),
        ("/jobs?queue=http", {"data": json.loads(DATA), "jobId": 7.5}),
    ],
    "GET /jobs/{queue}": [("/jobs/1", None), ("/jobs/none", None)],
    "POST /jobs/{queue}": [("/jobs/http", {"data": json.loads(DATA), "jobId": "new"}), ("/jobs/http", [SECRET])],
    "GET /jobs/{queue}/{jobId}": [("/jobs/http/1", None), ("/jobs/http/2?wait=0.01", None), ("/jobs/http/3", None)],
    "DELETE /jobs/{queue}/{jobId}": [("/jobs/http/new", None), ("/jobs/http/new", None)],
    "POST /jobs/{queue}/{jobId}/retry": [("/jobs/http/5/retry", None), ("/jobs/http/1/retry", None)],
    "POST /jobs/{queue}/{jobId}/promote": [("/jobs/http/2/promote", None)],
    "GET /jobs/{queue}/{jobId}/logs": [("/jobs/http/1/logs", None), ("/jobs/http/1/logs?start=-1", None)],
    "GET /job-logs": [("/job-logs?queue=http&jobId=1", None), ("/job-logs?queue=sparql&jobId=1", None)],
    "GET /events": [("/events?job=1&job=2&job=4&queue=http&events=*&logs=1&until=end", None)],
    "POST /events": [("/events?wait=0", FOLLOWING), ("/events?wait=0", [*FOLLOWING, *LEAVING])],
    "POST /analyze/{queue}": [("/analyze/http", json.loads(DATA))],
    "POST /lookup": [("/lookup", {"jobs": ["1", "2", "3", "4", "5"], "queue": "http"}), ("/lookup", ["1"])],
    "POST /logs": [("/logs", {"message": PUBLIC}), ("/logs", [{"message": 7}, {"level": SECRET, "message": ""}])],
    "GET /whoami": [("/whoami", None)],
    "GET /queues": [("/queues", None)],
    "GET /queues/{queue}/jobs": [
        (f"/queues/http/jobs?state={state}", None) for state in ("waiting", "active", "completed", "failed", "none")
    ],
    "GET /queue-jobs": [("/queue-jobs?queue=http&state=completed", None), ("/queue-jobs?queue=http", None)],
    "POST /queues/{queue}/retry": [("/queues/http/retry", None)],
    "POST /queues/{queue}/pause": [("/queues/http/pause", None)],
    "POST /queues/{queue}/resume": [("/queues/http/resume", None)],
    "POST /actions": [
        *(
            (f"/actions?action={action}&queue=http&jobId=1", None)
            for action in ("retry", "promote", "remove&children=1")
        ),
        *((f"/actions?action={action}&queue=http", None) for action in ("retry-failed", "pause", "resume", "x")),
    ],
    "GET /healthz": [("/healthz", None)],
    "GET /readyz": [("/readyz", None)],
    "GET /metrics": [("/metrics", None)],
    "GET /": [("/", None)],
    "GET /page.js": [("/page.js", None)],
    "GET /page.css": [("/page.css", None)],
    "GET /page.svg": [("/page.svg", None)],
    "GET /jobws.js": [("/jobws.js", None)],
    "GET /jobws-http.js": [("/jobws-http.js", None)],
    "GET /jobws-all.js": [("/jobws-all.js", None)],
    "GET /jobws-queues.js": [("/jobws-queues.js", None)],
    "GET /elements.js": [("/elements.js", None)],
    "GET /src/{module}": [("/src/errors.js", None)],
    "GET /src/elements/{module}": [("/src/elements/job.js", None)],
}


def forms() -> list[bytes]:
    """What the secret may look like. It has a part without any character that is escaped."""
    core = CORE.encode()
    # In base64 a text has one of three places. What depends on the bytes beside it is cut off.
    places = [b64encode(bytes(shift) + core)[4 if shift else 0 : -4] for shift in range(3)]
    return [core, core.hex().encode(), *places, urlsafe_b64encode(digest(SECRET.encode()))]


def fill(redis: Redis) -> None:
    """Write jobs in several states, and lines of logs. Queue `http` has rules, and `sparql` does not show results."""
    one = {"name": SECRET, "data": DATA, "progress": PROGRESS, "returnvalue": ROWS, "finishedOn": "5"}
    redis.add_job("http", "1", state="completed", **one)
    redis.add_job("http", "2", state="failed", data=DATA, failedReason=SECRET, stacktrace=TRACE, finishedOn=6)
    redis.add_job("http", "3", state="active", data=DATA, progress=PROGRESS, failedReason=SECRET)
    redis.add_job("http", "4", state="completed", returnvalue=DOUBLED, finishedOn=7)
    redis.add_job("http", "5", state="failed", failedReason=SECRET, stacktrace=TRACE, finishedOn=6)
    redis.add_job("sparql", "1", state="completed", returnvalue=f'"{CORE}"', finishedOn=5)
    redis.add_job("open", "1", state="completed", data=f'"{PUBLIC}"', returnvalue=f'"{PUBLIC}"', finishedOn=5)
    for queue, line in (("http", SECRET), ("sparql", PUBLIC)):
        redis.client.rpush(f"bull:{queue}:1:logs", line, line)
    redis.client.rpush("bull:http:3:logs", SECRET)
    redis.add_job("open", "top", state="waiting-children")
    add_child(redis, ("open", "top"), "http", "6")
    redis.client.hset("bull:open:top:processed", "bull:http:none", ROWS)
    redis.add_log(SECRET, queue="http", jobId="1", fields=json.dumps({"secret": SECRET}), more=SECRET)
    redis.add_log(PUBLIC, queue="open", fields=json.dumps({"x": PUBLIC}))


def happen(redis: Redis) -> list[str]:
    """Write events. Return the id of one that is too large for a frame."""
    redis.add_event("http", "added", "3", name=SECRET)
    redis.add_event("http", "progress", "3", data=PROGRESS)
    redis.add_event("http", "progress", "3", data=f'{{"a": {SECRET}')
    redis.add_event("http", "mine", "3", note=SECRET, returnvalue=ROWS, other=PUBLIC)
    redis.add_event("http", "cleaned", None, count=1, note=SECRET)
    redis.client.hset("bull:open:top:failed", "bull:http:6", SECRET)
    redis.client.srem("bull:open:top:dependencies", "bull:http:6")
    redis.add_job("http", "6", state="failed", failedReason=SECRET, stacktrace=TRACE, finishedOn=8)
    redis.add_event("http", "failed", "6", failedReason=SECRET, prev="active")
    large = [redis.add_event("http", "completed", job_id, returnvalue=LARGE) for job_id in ("3", "gone")]
    redis.add_event("http", "failed", "3", failedReason=SECRET)
    redis.add_event("sparql", "completed", "1", returnvalue=f'"{CORE}"', prev="active")
    redis.add_event("open", "completed", "1", returnvalue=f'"{PUBLIC}"')
    redis.add_event("open", "progress", "1", data='"the end"')
    return large


def send_all(url: str) -> dict[str, list[Answer]]:
    """Send every request over HTTP."""
    return {
        operation: [exchange(operation.split()[0], url + path, body, {}) for path, body in sent]
        for operation, sent in REQUESTS.items()
    }


async def follow(client: RawClient, redis: Redis) -> list[str]:
    """Send every request of `/ws`, and let events happen. Return the ids of those that are too large for a frame."""
    await check_requests(client, SENT)
    await client.ask("subscribe-job", SUBSCRIPTION)
    await client.until_answered("subscribe-job", FLOW)
    for queue in ("http", "sparql", "open"):
        await client.until_answered("subscribe-queue", {"queue": queue, "sub": queue, "events": ["*"]})
    large = happen(redis)
    redis.client.rpush("bull:http:3:logs", SECRET)
    frames = await client.until("progress", data="the end")
    while not any("parent" in frame and frame["event"] == "failed" for frame in frames):
        frames.append(await client.receive())
    await client.until_answered("subscribe-queue", WHOLE_QUEUE)
    *_, numbers = await client.until("queue-stats", queue="http")
    assert numbers["data"]["workers"] == 1
    for request in LEAVING:
        await client.until_answered(request["event"], request.get("data"))
    await client.send_raw(f'{{"event": "{CORE[:6]}')
    await client.until("error", code="bad-json")
    return large


async def read_log(client: RawClient, redis: Redis) -> dict[str, Any]:
    """Send every request of `/logs`. Return one line."""
    await check_requests(client, SENT_TO_LOGS)
    await client.until_answered("subscribe-logs", {"tail": 100, "text": CORE})  # nor can it be searched
    await client.until_answered("subscribe-logs", {"tail": 100, "queue": "http"})
    *_, line = await client.until("log")
    redis.add_log(SECRET, queue="http")
    await client.until("log")
    for event in SENT_TO_LOGS[1:]:
        await client.until_answered(event, {"token": "a.b.c"})
    data: dict[str, Any] = line["data"]
    return data


async def check_requests(client: RawClient, known: Sequence[str]) -> None:
    """Check that the endpoint has these requests and no others."""
    refused = (await client.ask("none", SECRET))["data"]["message"]
    assert refused.startswith("unknown event; ")
    assert refused.endswith(f" knows {', '.join(known)}")


async def wait_for_end(live: Live, redis: Redis, url: str) -> None:
    """Ask for a job that is gone by the time of the answer."""

    async def happen() -> None:
        await eventually(lambda: bool(live.bridge.fanout.rooms.of_job("http", "brief")))
        redis.add_event("http", "completed", "brief", returnvalue=ROWS, prev="active")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(happen)
        assert "state" in await get(url, "/jobs?queue=http&jobId=brief&wait=20")


class Told(NamedTuple):
    """What a bridge told.

    Attributes:
        everything: Every byte that it sent or logged.
        ways: The same by operation, or by the path of the WebSocket, and what it logged as `log`.
        answers: The JSON of the answers to `REQUESTS`.
        line: One line of the log.
        large: The events that are too large for a frame.
    """

    everything: bytes
    ways: dict[str, bytes]
    answers: dict[str, list[Any]]
    line: dict[str, Any]
    large: list[Any]


async def ask_everything(
    redis: Redis, log: pytest.LogCaptureFixture, redact: Sequence[str] = REDACT, no_results: Sequence[str] = ("sparql",)
) -> Told:
    """Use every route and every request of a bridge."""
    log.set_level(logging.DEBUG)
    fill(redis)
    ways: dict[str, bytes] = {}
    kept = 0
    # The connection of a worker, whose name and address nobody may learn.
    worker = connect(redis.url, client_name=f"bull:http:w:{CORE}")
    address = str(worker.client_info()["addr"])
    async with (
        flow_bridge(
            redis.url,
            queues=("http", "sparql", "open"),
            redact=redact,
            no_results=no_results,
            show_data=("*",),
            show_stacktraces=("*",),
            allow_actions=True,
            max_result_bytes=2000,
        ) as live,
        recorded(live.url) as (url, sent),
    ):

        def keep(way: str) -> None:
            """Keep what was sent on the connections since the last call."""
            nonlocal kept
            ways[way] = b"\n".join(sent[kept:])
            kept = len(sent)

        async with raw_client(url) as client:
            large = await follow(client, redis)
        keep("/ws")
        async with raw_client(url, path="/logs") as client:
            line = await read_log(client, redis)
        keep("/logs")
        beginning = urlsafe_b64encode(b'{"http":"0-0"}').decode().rstrip("=")
        async with event_source(url, queue="http", events="*,queue-stats", lastEventId=beginning) as source:
            await source.until("queue-stats")
        keep("GET /events of a queue")
        await wait_for_end(live, redis, url)
        keep("GET /jobs that waits")
        whole = [
            await get(url, f"/jobs?queue=http&jobId={job_id}&event={stream_id}")
            for stream_id, job_id in zip(large, ("3", "gone"), strict=True)
        ]
        keep("GET /jobs of an event")
        answers = await anyio.to_thread.run_sync(send_all, url)
        assert REQUESTS.keys() == operations(await get(url, "/openapi.json"))
        assert {each.path for each in routes_of(live) if isinstance(each, WebSocketRoute)} == {"/ws", "/logs"}
    ways |= {operation: b"\n".join(answer.body for answer in found) for operation, found in answers.items()}
    ways["log"] = log.text.encode()
    worker.close()
    assert not [way for way, sent in ways.items() if address.encode() in sent]
    contents = {operation: [answer.content() for answer in found] for operation, found in answers.items()}
    return Told(b"\n".join([*sent, *ways.values()]), ways, contents, line, whole)


async def get(url: str, path: str) -> Any:
    return (await anyio.to_thread.run_sync(exchange, "GET", url + path, None, {})).content()


def operations(document: Any) -> set[str]:
    return {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
