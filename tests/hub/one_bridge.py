"""A hub and its clients, step by step. The test decides what Redis answers, and when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.following import FollowingClient
from jobws.privacy.rules import NO_RULES
from jobws.protocol.messages import JobSnapshot
from jobws.protocol.session import Session
from tests.support.fanout import ignore, new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, do_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobws.bullmq.snapshot import Job
    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.flow import Flow
    from jobws.hub.jobs.missed import Owed, Replay
    from jobws.hub.jobs.pending import PendingSubscription
    from jobws.hub.jobs.query import Query
    from jobws.hub.jobs.subscription import Subscription
    from jobws.privacy.rules import Privacy
    from jobws.protocol.messages import ItemError

    Found = Mapping[Job, JobSnapshot | ItemError | None]

QUEUES = ("http", "analyzer")


def event(name: str, job_id: str = "1", **fields: bytes | str) -> list[bytes]:
    """Return the fields of a stream's entry."""
    values = {"event": name, "jobId": job_id, **fields}
    return [part if isinstance(part, bytes) else part.encode() for item in values.items() for part in item]


def hash_of(state: str = "completed", finished_on: float = 5, queue: str = "http", job_id: str = "1") -> JobSnapshot:
    """Return the snapshot of a job."""
    if state not in ("completed", "failed"):
        return JobSnapshot(queue, job_id, "n", state, None)
    return JobSnapshot(queue, job_id, "n", state, None, finished_on=finished_on, returnvalue=Raw(b"1"))


class Bridge:
    """A hub whose queues have empty streams that were read."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = lambda: 0.0,
        max_payload_bytes: int = 1 << 20,
        privacy: Privacy = NO_RULES,
        on_gap: Callable[[str], None] = ignore,
        on_progress: Callable[[], None] = ignore,
        progress_seconds: float = 0.0,
    ) -> None:
        self.queues = dict.fromkeys(QUEUES)
        self.listened: list[str | None] = []
        self.wanted = 0
        self.fanout = new_fanout(
            on_listened=self.listened.append,
            on_stats_wanted=self._want_stats,
            on_gap=on_gap,
            on_progress=on_progress,
            max_payload_bytes=max_payload_bytes,
            privacy=privacy,
            clock=clock,
            progress_seconds=progress_seconds,
        )
        for queue in QUEUES:
            self.open(queue)

    def _want_stats(self) -> None:
        self.wanted += 1

    def open(self, queue: str) -> None:
        """Add a queue with an empty stream."""
        self.queues[queue] = None
        do_all(self.fanout.fill(queue, [], "0-0"))
        self.fanout.cursors[queue] = self.fanout.verified[queue] = "0-0"

    def publish(self, stream_id: str, fields: list[bytes], queue: str = "http") -> None:
        """Publish one entry of a stream."""
        assert self.fanout.publish(queue, [(stream_id.encode(), fields)]) == 1
        self.fanout.verified[queue] = stream_id

    def read_to(self, stream_id: str, queue: str = "http") -> None:
        """Publish an event of a job that no client follows."""
        self.publish(stream_id, event("added", "another"), queue)


class Client:
    """A client, and what it gets."""

    def __init__(self, bridge: Bridge, *, outbox_bytes: int = 1 << 20, max_subscriptions: int = 100) -> None:
        self.fanout = bridge.fanout
        self.queues = bridge.queues
        self.woken = 0
        self.read_back: list[JobClient] = []
        # The flow of each signal that a flow is new or has changed.
        self.flows: list[Flow] = []
        self.hub_client = FollowingClient(
            Session(self.queues, 1 << 18, 100, EVERYTHING),
            *(self.fanout, self.queues, max_subscriptions, outbox_bytes, self._wake, self.read_back.append),
            on_flow=self.flows.append,
        )

    def _wake(self) -> None:
        self.woken += 1

    def ask(self, name: str, data: object = None, ref: int | None = None) -> PendingSubscription | None:
        message = {"event": name, "data": data} | ({} if ref is None else {"ref": ref})
        return self.hub_client.receive(json.dumps(message), 0.0)

    def begin(self, data: object, name: str = "subscribe-job") -> PendingSubscription:
        """Begin a subscription, and return it before it is answered."""
        join = self.ask(name, data)
        assert join is not None
        return join

    def complete(
        self,
        join: PendingSubscription,
        found: Found | None = None,
        end: str = "0-0",
        *,
        now: float = 0.0,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Query:
        """Answer a subscription: Redis found these jobs, and their streams end at `end`.

        `meanwhile` is called before that.
        """
        query = ask_for(join, self.queues, self.fanout)
        meanwhile()
        found = dict(found or {})
        query.keep_answer(LookUp(found, dict.fromkeys(found, end), dict.fromkeys(query.queues, end)))
        do_all(self.hub_client.complete(join, query, now))
        return query

    def subscribe(self, data: object, found: Found | None = None, end: str = "0-0") -> dict[str, Any]:
        """Subscribe, and return the data of the ack."""
        self.complete(self.begin(data), found, end)
        ack, *_ = self.frames()
        assert ack["event"] == "ack"
        answer: dict[str, Any] = ack["data"]
        return answer

    def frames(self) -> list[dict[str, Any]]:
        """Take the frames in the outbox, and return them."""
        frames = [json.loads(frame.payload) for frame in self.hub_client.outbox.take()]
        self.hub_client.outbox.written()
        return frames

    def received(self) -> list[tuple[str, str | None]]:
        """Take the frames in the outbox, and return their events and positions."""
        return [(frame["event"], frame.get("id")) for frame in self.frames()]

    def member(self) -> Subscription:
        """Return the client's only subscription."""
        (membership,) = self.hub_client._subscriptions
        return membership

    def to_read_back(self) -> tuple[Replay, int]:
        """Return the only event that the client must be replayed: the replay, and the event's index in it."""
        assert self.hub_client.backlog is not None
        (event,), _ = self.hub_client.backlog.take(9)
        return event

    def owed(self) -> list[Owed]:
        """Return the outcomes that must be looked up for the client."""
        return [] if self.hub_client.backlog is None else self.hub_client.backlog.take(100)[1]
