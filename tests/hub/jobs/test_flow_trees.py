"""The ack of a flow has what was counted of it, unless the client's rights have changed since."""

from __future__ import annotations

from jobws.protocol.messages import AuthenticatedData, Tree
from jobws.protocol.request_types import Authenticate, Room
from tests.hub.one_bridge import Bridge, Client, hash_of
from tests.support.sight import sight

FLOW = {"sub": 5, "jobId": "1", "queue": "http", "children": True}
FOUND = {("http", "1"): hash_of("active")}


def test_a_new_token_discards_what_was_counted_with_the_old_one() -> None:
    client = Client(Bridge())
    pending = client.begin(FLOW)
    trees = pending.trees
    trees[Room("http", "1")] = Tree(1, 0, 2)
    data = AuthenticatedData("authenticate", 7, (), 0)
    client.hub_client.renew(sight("read:jobs:http"), Authenticate("x", 3), data)
    trees[Room("http", "1")] = Tree(1, 0, 2)  # counting has ended only now
    client.complete(pending, FOUND)
    (ack,) = [frame for frame in client.frames() if frame["data"]["request"] == "subscribe-job"]
    assert ["tree" in job for job in ack["data"]["jobs"]] == [False]


def test_only_items_that_follow_a_flow_have_a_tree() -> None:
    client = Client(Bridge())
    pending = client.begin([FLOW, {"jobId": "1", "queue": "http"}, {**FLOW, "jobId": "2"}, {**FLOW, "queue": "no"}])
    assert pending.tops == [Room("http", "1"), Room("http", "2")]
    pending.trees = {Room("http", "1"): Tree(1, 0, 2)}
    client.complete(pending, {**FOUND, ("http", "2"): hash_of("active", job_id="2")})
    flow, job, unknown, refused = client.frames()[0]["data"]["results"]
    assert flow["jobs"][0]["tree"] == {"done": 1, "failed": 0, "total": 2}
    assert "tree" not in job["jobs"][0]
    assert "tree" not in unknown["jobs"][0]
    assert refused["error"]["code"] == "unknown-queue"
