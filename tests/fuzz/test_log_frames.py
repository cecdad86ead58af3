"""Messages to `/logs` that are nearly right: nothing raises or leaks, and nothing is left of a client that left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from jobws.hub.log.broadcaster import LogHub
from jobws.hub.log.client import LogClient
from jobws.hub.log.line import Line
from jobws.privacy.rules import NO_RULES
from jobws.protocol.identifiers import position
from jobws.protocol.log.requests import LogSession
from jobws.protocol.session import Standing
from jobws.redis.log_stream import LogCursor, LogPage, State
from tests.fuzz.frames import HIDING, SCOPES, data_of_logs
from tests.fuzz.walk import EVERY, HIDDEN, SIGHTS, WALKS, Side, Walker, steps
from tests.support.fanout import ignore

if TYPE_CHECKING:
    from jobws.hub.log.subscription import LogSubscription
    from jobws.redis.commands import Entry

happening = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(("http", "sparql"))),
    st.sampled_from([("answer",), ("publish",), ("expire",), ("time", 0.2), ("time", 20.0), ("abuse",)]),
)


class LogSide(Side):
    """A bridge with one client. `queue` is the queue that is called `http` in the other bridge."""

    def __init__(self, token: str, queue: str) -> None:
        self.hub = LogHub(NO_RULES, lambda: 0.0, ignore, ignore)
        self.session = LogSession(1 << 18, SIGHTS[token])
        self.client = LogClient(self.session, self.hub, 1 << 20, ignore)
        self.walker = Walker(self.client, token)
        self._queue = queue
        self._entries: list[Entry] = []
        self._pending: list[LogSubscription] = []
        for each in ("http", "sparql", "http"):
            self.write(each)

    def wait(self, pending: LogSubscription) -> None:
        self._pending.append(pending)

    def write(self, queue: str) -> None:
        name = self._queue if queue == "http" else queue
        fields = {"message": f"of {name}", "queue": name, "jobId": "1", "source": "x"}
        flat = [part.encode() for pair in fields.items() for part in pair]
        self._entries.append((b"%d-0" % (len(self._entries) + 1), flat))

    def _page(self, after: str) -> LogPage:
        count = len(self._entries)
        entries = [entry for entry in self._entries if position(entry[0]) > position(after)]
        return LogPage(State(count, "1-0", f"{count}-0", count), entries, full=False)

    def publish(self) -> None:
        """Pass new lines on to the live subscription, and the number of those that it missed, as the bridge does."""
        self.hub.send_dropped()
        cursor, index = self.hub.cursor, 0
        if cursor is not None:
            page = self._page(cursor.id)
            while index < len(page.entries):
                index = self.hub.publish(cursor, page, index)
                while self.hub.flush():
                    pass

    def answer(self) -> None:
        """Answer what waits, as the bridge does: where it begins, past lines, and then new ones."""
        self.publish()
        for pending in self._pending:
            end = f"{len(self._entries)}-0"
            self.client.complete(pending, LogCursor(self._beginning(pending), None), end, gap=False)
            # A position after the last line is one of another stream, so the first page begins again.
            assert pending.ended or any(self._read_back(pending) for _ in range(2))
        self._pending.clear()

    def _read_back(self, pending: LogSubscription) -> bool:
        page = self._page("0-0" if pending.cursor is None else pending.cursor.id)
        return self.hub.join(pending, page, pending.read_back(page, 0, lambda: 0.0))

    def _beginning(self, pending: LogSubscription) -> str:
        if pending.request.after is not None:
            return pending.request.after
        wanted, found = pending.request.tail or 0, 0
        for entry in reversed(self._entries):
            if found >= wanted:
                return entry[0].decode()
            found += Line(entry, NO_RULES).passes(pending.request.filter)
        return "0-0"

    # ---- checking ----

    def check(self) -> None:
        """The client has only what it may have, and the hub has only what the client has."""
        client = self.client
        current = [each for each in (client._current, client._pending) if each is not None]
        assert client.closing is None or not current
        assert self.session.sight is self.walker.sight
        assert self.hub._live.keys() <= {client._current}
        assert (self.hub.cursor is None) == (not self.hub._live)
        for each in current:
            assert not each.ended
            assert each.limit(self.session)

    def leave(self) -> None:
        """The client leaves, and nothing of it is left."""
        self.client.end_all()
        self.client.outbox.take()
        self.client.outbox.written()
        self.hub.send_dropped()
        assert self.client.outbox.size == 0
        assert (self.client._current, self.client._pending) == (None, None)
        hub = self.hub
        assert (hub._live, hub._due, +hub._texts, hub.cursor, hub._begun) == ({}, {}, {}, None, None)
        assert not hub._touched


@WALKS
@given(st.sampled_from(HIDING), st.booleans(), steps(data_of_logs, HIDDEN, happening))
def test_a_client_without_the_right_learns_nothing_of_the_lines(token: str, has_token: bool, taken: list[Any]) -> None:
    sides = [LogSide(token, "http"), LogSide(token, "stranger")]
    for side in sides:
        if not has_token:
            side.walker.client.session.standing = Standing.WITHOUT_TOKEN
    for step in (*taken, ("answer",), ("write", "http"), ("publish",)):
        for side in sides:
            side.take(step)
            side.check()
        received, expected = (side.walker.frames() for side in sides)
        assert received == expected, step
    for side in sides:
        side.walker.check_answers()
        side.leave()


@WALKS
@given(st.sampled_from(list(SCOPES)), steps(data_of_logs, EVERY, happening))
def test_a_client_gets_answers_and_the_lines_that_it_may_read(token: str, taken: list[Any]) -> None:
    side = LogSide(token, "http")
    for step in (*taken, ("answer",), ("write", "http"), ("publish",)):
        side.take(step)
        side.check()
        for payload in side.walker.frames():
            frame = json.loads(payload)
            assert frame["event"] != "log" or side.walker.sight.may_read_lines(frame["data"]["queue"])
    side.walker.check_answers()
    side.leave()


@WALKS
@given(st.sampled_from(list(SCOPES)), steps(data_of_logs, EVERY, happening))
def test_a_client_that_leaves_before_the_answers_leaves_nothing(token: str, taken: list[Any]) -> None:
    side = LogSide(token, "http")
    for step in taken:
        side.take(step)
    side.walker.frames()
    side.leave()
