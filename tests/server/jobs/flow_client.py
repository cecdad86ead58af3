"""A client that follows a flow, and checks each frame that it gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobws.protocol.identifiers import START, position

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.bullmq.snapshot import Job
    from tests.server.jobs.flow_world import Bridge, Redis


class Client:
    """A client that follows the flow, over one connection after the other.

    Args:
        redis: Where the flow is.
        bridge: The bridge to which it connects first.
        sees: Whether its token allows a job.
        until_end: Whether the outcome of the job at the top ends the subscription.
        beside: A queue in which it has another subscription, or None.

    Attributes:
        after: Its positions by queue; None if it was never acknowledged.
        taken: The numbers of the events that it got, over all connections.
    """

    def __init__(
        self, redis: Redis, bridge: Bridge, sees: Callable[[Job], bool], *, until_end: bool, beside: str | None
    ) -> None:
        self.redis = redis
        self.sees = sees
        self.until_end = until_end
        self.beside = beside
        self.after: dict[str, str] | None = None
        self.taken: set[int] = set()
        self.over = False
        self.on_top: Callable[[int], None] = lambda _number: None
        self.connect(bridge)

    def connect(self, bridge: Bridge) -> None:
        """Connect, and subscribe."""
        self.bridge = bridge
        self.hub_client = bridge.connect()
        self.inbox: list[dict[str, Any]] = []
        self.acked = False
        item: dict[str, Any] = {"sub": 5, "jobId": "top", "queue": self.redis.top[0], "children": True}
        item |= {"until": "end"} if self.until_end else {}
        item |= {} if self.after is None else {"after": dict(self.after)}
        bridge.flow = None
        bridge.receive(self.hub_client, {"event": "subscribe-job", "data": item, "ref": 1})
        if self.beside is not None:
            data = {"sub": 6, "jobId": "stranger", "queue": self.beside}
            bridge.receive(self.hub_client, {"event": "subscribe-job", "data": data, "ref": 2})

    def disconnect(self, keep: int) -> None:
        """Break the connection. Of the frames that are under way, the first `keep` arrive."""
        self.fetch()
        self.take(keep)
        self.bridge.disconnect(self.hub_client)

    def fetch(self) -> None:
        self.inbox += [json.loads(frame.payload) for frame in self.hub_client.outbox.take()]
        self.hub_client.outbox.written()

    def take(self, count: int) -> None:
        for frame in self.inbox[:count]:
            self._take(frame)
        del self.inbox[:count]

    def ping(self) -> None:
        self.bridge.receive(self.hub_client, {"event": "ping"})

    def _take(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        if frame.get("sub") == 6:
            return
        match frame["event"]:
            case "ack":
                if frame["ref"] == 1:
                    self.acked, self.after = True, data["after"]
            case "pong":
                if self.acked and self.after is not None:
                    for queue, at in data["after"].items():
                        self.after[queue] = max(at, self.after.get(queue, START), key=position)
            case "gap":
                assert data["reason"] == "trimmed"
            case "removed" if not data.get("n"):
                assert self.acked
            case name:
                assert self.acked
                assert name in ("completed", "failed", "removed"), frame
                self._take_outcome(frame)

    def _take_outcome(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        number = int(data.get("n") or data.get("returnvalue") or data.get("failedReason"))
        event, job = self.redis.written[number], (data["queue"], data["jobId"])
        assert (event.name, event.job) == (frame["event"], job)
        assert self.sees(job), frame
        assert (frame["sub"], "id" in frame) == (5, False)
        above = self.redis.above.get(job)
        assert frame.get("parent") == (None if above is None else {"queue": above[0], "jobId": above[1]})
        assert not self.over, "a frame after the end"
        if job == self.redis.top:
            self.on_top(number)
            self.over = self.until_end
        self.taken.add(number)
