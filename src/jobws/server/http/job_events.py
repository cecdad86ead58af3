"""`GET /events`: events of jobs as a stream of server-sent events, for the `EventSource` of browsers, and for curl."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from jobws.access.sights import sight_of
from jobws.errors import RequestError
from jobws.protocol.messages import ItemError
from jobws.protocol.request_types import Subscribe, SubscriptionRequest
from jobws.protocol.requests import EVERY_QUEUE, parse_request
from jobws.protocol.server_sent_events import EventStreamWriter, close_block, decode_position
from jobws.server.http import event_stream as streaming
from jobws.server.http.request import parameters, repeated
from jobws.server.http.rights import identity_of, judged

if TYPE_CHECKING:
    from starlette import requests

    from jobws.access.identity import Identity
    from jobws.server.http.service import Service
    from jobws.server.websocket.in_process_client import InProcessClient

# How long a browser waits before it connects again.
RETRY_MILLISECONDS: Final = 1000


class EventStreams:
    """The endpoint `GET /events`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def events(self, request: requests.Request) -> Response:
        """`GET /events?job=…&job=…&queue=…&events=…&logs=1&until=end`, or `?queue=…&events=…` for a whole queue."""
        asked = parameters(request, ("queue", "events", "until", "logs", "lastEventId"))
        job_ids = list(dict.fromkeys(repeated(request, "job")))
        data: dict[str, Any] = _items(job_ids, asked)
        what, (items,) = "subscribe-job" if job_ids else "subscribe-queue", data.values()
        data.update({key: asked[key] for key in ("queue", "until") if key in asked})
        if "events" in asked:
            data["events"] = asked["events"].split(",")
        if "logs" in asked:
            data["logs"] = _logs(asked["logs"])
        # A browser that connects again uses the same URL, so the header is newer than the parameter.
        last = request.headers.get("last-event-id") or asked.get("lastEventId")
        if last:
            # The part of a position after `~` belongs to one job. An item may have it, the common `after` may not.
            (items[0] if len(items) == 1 else data)["after"] = decode_position(last)
        service = self._service

        def parse(identity: Identity) -> tuple[SubscriptionRequest | ItemError, ...]:
            limit = service.settings.max_subscriptions
            parsed = parse_request(what, data, None, service.nameable, limit, sight_of(identity))
            return tuple(parsed.items) if isinstance(parsed, Subscribe) else ()

        for item in parse(await judged(request, parse)):
            if isinstance(item, ItemError):
                raise RequestError(item.code, item.message)
        if request.method == "HEAD":
            return Response(headers=streaming.HEADERS)
        return streaming.EventStream(
            service,
            identity_of(request),
            _Events(what, data, service.intervals.keep_alive_seconds),
            b"retry: %d\n" % RETRY_MILLISECONDS,
        )


class _Events:
    """The conversation of one `GET /events`: a list of subscriptions, and their events.

    Args:
        request: The name of the request that the URL stands for: `subscribe-job` or `subscribe-queue`.
        data: The data of this request.
        keep_alive_seconds: If no event comes for this time, the client gets its present position.
    """

    def __init__(self, request: str, data: dict[str, Any], keep_alive_seconds: float) -> None:
        self._request = request
        self._data = data
        self._keep_alive_seconds = keep_alive_seconds
        until_end = data.get("until") == "end"
        queue = data.get("queue")
        self._writer = EventStreamWriter(None if queue == EVERY_QUEUE else queue, until_end=until_end)
        # If a client returns and its job is unknown, the job has ended and the client has its outcome.
        self._returns = until_end and any("after" in each for each in (data, *data["jobs"]))

    async def ask(self, client: InProcessClient) -> None:
        """Subscribe to the jobs, or the whole queue, of the URL."""
        await client.subscribe(self._data, self._request)

    def patience(self) -> float:
        """Return the seconds after which the client gets a position if no event came."""
        return self._keep_alive_seconds

    def step(self, client: InProcessClient) -> tuple[bytes, bool]:
        """Return the new frames, written as server-sent events, and whether the response ends after them."""
        hub_client = client.hub_client
        frames = client.take()
        blocks = b"".join(map(self._writer.block, frames))
        ended = self._writer.unknown if self._returns else ()
        closing = hub_client.closing
        if closing is not None:
            return blocks + close_block(closing.code, closing.reason), True
        over = all(key.sub in ended for key in hub_client.keys)
        if not frames:
            client.ping()
        return blocks, over


def _items(job_ids: list[str], asked: dict[str, str]) -> dict[str, Any]:
    """Return the beginning of the data of the request that the URL stands for: a list of what to subscribe to.

    Args:
        job_ids: The values of `job` in the query, without duplicates.
        asked: The other parameters of the query. Only whether `queue`, `until` and `logs` are there matters here.

    Returns:
        With job ids, `{"jobs": [{"sub": 0, "jobId": …}, …]}` for `subscribe-job`. Without any,
        `{"queues": [{"sub": 0}]}` for `subscribe-queue`; the caller adds the key `queue`.

    Raises:
        RequestError: `bad-data`: the query names neither a job nor a queue, or has `until` or `logs` without a job.
    """
    if job_ids:
        return {"jobs": [{"sub": number, "jobId": job_id} for number, job_id in enumerate(job_ids)]}
    if "queue" not in asked:
        raise RequestError(
            "bad-data", "`job`: expected ?job=, the id of a job, once or several times, or ?queue= alone"
        )
    for key in ("until", "logs"):
        if key in asked:
            raise RequestError("bad-data", f"`{key}` needs ?job=: a whole queue has no end and no log")
    return {"queues": [{"sub": 0}]}


def _logs(text: str) -> bool:
    if text not in ("1", "true"):
        raise RequestError("bad-logs", "`logs` in the query can only be 1 or true")
    return True
