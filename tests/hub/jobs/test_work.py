"""Work for one client depends only on what it is about, not on what else there is.

The tests count instructions, not time.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from jobws.bullmq.events import Kind, kind_of
from jobws.bullmq.snapshot import LookUp
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.queue_history import FORGOTTEN_TOGETHER, QueueHistory
from jobws.protocol.session import Session
from tests.support.fanout import new_fanout
from tests.support.sight import EVERYTHING
from tests.support.steps import ask_for, do_all
from tests.support.work import counted

if TYPE_CHECKING:
    from jobws.bullmq.events import HistoryEntry
    from jobws.hub.jobs.pending import PendingSubscription

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="Python 3.13 does not trace each instruction of a function the second time"
)
NOTHING = LookUp({}, {}, {})
LIMIT = 1000
ENDED = [b"event", b"completed", b"jobId"]


class Hub:
    """A hub with queues and clients."""

    def __init__(self, queues: int) -> None:
        self.labels = {f"q{number}": None for number in range(queues)}
        self.fanout = new_fanout()
        for queue in self.labels:
            do_all(self.fanout.fill(queue, [], "0-0"))

    def client(self) -> JobClient:
        return JobClient(
            Session(self.labels, 1 << 20, LIMIT, EVERYTHING),
            self.fanout,
            self.labels,
            LIMIT,
            1 << 24,
            lambda: None,
            lambda _: None,
        )


def ask(client: JobClient, event: str, data: object) -> PendingSubscription | None:
    return client.receive(json.dumps({"event": event, "data": data}), 0.0)


def join(hub: Hub, client: JobClient, items: list[Any], event: str = "subscribe-job") -> None:
    asked = ask(client, event, items)
    assert asked is not None
    query = ask_for(asked, hub.labels, hub.fanout)
    query.keep_answer(NOTHING)
    do_all(client.complete(asked, query, 0.0))


def items(first: int, count: int, queue: str = "q0") -> list[Any]:
    return [{"jobId": str(number), "queue": queue} for number in range(first, first + count)]


def answer(client: JobClient) -> Any:
    *_, last = [json.loads(frame.payload) for frame in client.outbox.take()]
    return last["data"]


def test_a_client_that_is_in_as_many_rooms_as_may_be_is_refused_after_one_pass() -> None:
    hub = Hub(1)
    client = hub.client()
    join(hub, client, items(0, LIMIT))
    with counted() as work:
        join(hub, client, items(LIMIT, 500))
    assert all(result["error"] for result in answer(client)["results"])
    assert work.instructions < 500 * 600


def test_the_oldest_rooms_that_ended_make_place_in_one_pass() -> None:
    hub = Hub(1)
    client = hub.client()
    join(hub, client, items(0, LIMIT))
    hub.fanout.publish("q0", [(b"%d-0" % (1 + number), [*ENDED, b"%d" % number]) for number in range(600, LIMIT)])
    with counted() as work:
        join(hub, client, items(LIMIT, 300))
    assert answer(client)["evicted"] == items(600, 300)
    assert work.instructions < 300 * 2000


def test_leaving_many_rooms_looks_at_the_pending_ones_once() -> None:
    hub = Hub(1)
    client = hub.client()
    join(hub, client, items(0, 500))
    for item in items(500, 200):
        assert ask(client, "subscribe-job", item) is not None
    with counted() as work:
        ask(client, "unsubscribe-job", items(0, 500))
    assert work.instructions < 500 * 600


def test_a_ping_costs_nothing_for_the_lines_of_others() -> None:
    hub = Hub(1)
    client = hub.client()

    def work_of() -> int:
        with counted() as work:
            ask(client, "ping", None)
            assert not client.catching_up
        return work.instructions

    def least() -> int:
        """Collecting garbage can run a few instructions of someone else."""
        return min(work_of() for _ in range(5))

    alone = least()
    others = [hub.client() for _ in range(100)]
    for other in others:
        join(hub, other, [{**item, "logs": {}} for item in items(0, 10)])
    hub.fanout.publish("q0", [(b"%d-0" % (1 + number), [*ENDED, b"%d" % number]) for number in range(10)])
    assert all(other.catching_up for other in others)
    assert least() == alone


@pytest.mark.long
def test_jobs_without_a_queue_cost_next_to_nothing_for_each_queue_that_has_them_not() -> None:
    def work_of(queues: int, **data: Any) -> int:
        hub = Hub(queues)
        client = hub.client()
        with counted() as work:
            join(hub, client, {"jobs": [f"j{number}" for number in range(200)], **data})  # type: ignore[arg-type]
        assert len(answer(client)["results"]) == 200
        return work.instructions

    few = work_of(5)
    # One look-up in an index for each pair of job and queue, and a little more for each queue.
    assert work_of(500) < few + 200 * 500 * 8 + 500 * 500
    assert work_of(500, after={f"q{number}": "0-0" for number in range(500)}) < few + 200 * 500 * 8 + 500 * 1000


def job_events(count: int) -> list[HistoryEntry]:
    kind = kind_of([*ENDED, b"1"])
    assert isinstance(kind, Kind)
    return [(b"%d-0" % number, b"%d" % number, kind) for number in range(count, 0, -1)]


def test_what_a_stream_held_is_taken_over_in_short_steps_and_counts_only_as_a_whole() -> None:
    history = QueueHistory(2000)
    steps = history.fill(job_events(3000), "0-0")
    most, floors = 0, []
    while True:
        floors.append(history.floor)
        with counted() as work:
            is_over = not any(True for _ in islice(steps, 1))
        most = max(most, work.instructions)
        if is_over:
            break
    assert most < 20_000
    assert set(floors) == {None}
    assert (len(history), history.floor) == (2000, "1000-0")


def test_what_is_forgotten_is_forgotten_in_portions() -> None:
    history = QueueHistory(40_000)
    do_all(history.fill(job_events(40_000), "0-0"))
    history.resize(25_000)
    assert len(history) == 40_000 - FORGOTTEN_TOGETHER
    assert history.floor == f"{FORGOTTEN_TOGETHER}-0"
    history.resize(25_000)
    assert len(history) == 25_000
    history.forget_before("40000-0")
    assert len(history) == 25_000 - FORGOTTEN_TOGETHER
    for _ in range(3):
        history.forget_before("40000-0")
    assert len(history) == 1


def test_a_gap_is_reported_client_by_client() -> None:
    hub = Hub(1)
    clients = [hub.client() for _ in range(10)]
    for client in clients:
        join(hub, client, items(0, 1))
        client.outbox.take()
    hub.fanout.cursors["q0"] = hub.fanout.verified["q0"] = "1-0"
    _, floor = hub.fanout.begin_reread("q0", "1-0", "0-0")
    received = [
        sum(len(client.outbox.take()) for client in clients) for _ in hub.fanout.send_gap("q0", "trimmed", floor)
    ]
    # One step for the state of a subscription, and one for its client.
    assert received == [0] * 10 + [1] * 10
