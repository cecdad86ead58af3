"""Whatever happens, a client of the log gets each line once and in order, or the number of lines that are missing."""

from __future__ import annotations

import json
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from jobws.hub.log.broadcaster import LogHub
from jobws.hub.log.client import LogClient
from jobws.hub.log.line import MAX_SECONDS
from jobws.privacy.rules import NO_RULES
from jobws.protocol.identifiers import position
from jobws.protocol.log.requests import LogFilter, LogSession
from jobws.redis.log_stream import MAX_COUNT, LogCursor, LogPage, Missing, State, next_count
from jobws.server.log.history import beginning_after
from tests.support import SEEDS
from tests.support.fanout import ignore
from tests.support.sight import EVERYTHING

if TYPE_CHECKING:
    from jobws.hub.log.subscription import LogSubscription
    from jobws.redis.commands import Entry

CLIENTS = 2
PAGE = 4
# About five lines.
OUTBOX_BYTES = 700


class Stream:
    """The log, as in Redis: all lines that were ever written. The first `removed` of them are trimmed."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.removed = 0

    @property
    def state(self) -> State:
        last = self.ids[-1] if self.ids else "0-0"
        length = len(self.ids) - self.removed
        return State(length, self.ids[self.removed] if length else "0-0", last, len(self.ids))

    def page(self, after: str) -> LogPage:
        begin = max(self.removed, self.index(after))
        behind = self.ids[begin : begin + PAGE]
        entries: list[Entry] = [(each.encode(), [b"message", each.encode()]) for each in behind]
        return LogPage(self.state, entries, len(entries) == PAGE)

    def index(self, stream_id: str) -> int:
        """Return how many lines were ever written up to this id."""
        return position(stream_id)[0]


class Client:
    """A client, what it reads of past lines, and the line up to which it knows about every line."""

    def __init__(self, hub: LogHub) -> None:
        self.hub_client = LogClient(LogSession(1 << 18, EVERYTHING), hub, OUTBOX_BYTES, lambda: None)
        self.member: LogSubscription | None = None
        self.page: tuple[LogPage, int] | None = None
        # None after a hole whose size is unknown, since it is not known how many lines had come up to `after`.
        self.told: int | None = 0


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        ticks = count()
        self.hub = LogHub(
            NO_RULES, lambda: next(ticks) * MAX_SECONDS / 2, ignore, ignore
        )  # so that a call often stops before its end
        self.stream = Stream()
        self.clients = [Client(self.hub) for _ in range(CLIENTS)]
        self.read: tuple[LogCursor, LogPage, int] | None = None

    # ---- Redis ----

    @rule(lines=st.integers(1, 12))
    def add(self, lines: int) -> None:
        for _ in range(lines):
            self.stream.ids.append(f"{len(self.stream.ids) + 1}-0")

    @rule(kept=st.integers(0, 5))
    def trim(self, kept: int) -> None:
        self.stream.removed = max(self.stream.removed, len(self.stream.ids) - kept)

    # ---- clients ----

    @rule(number=st.integers(0, CLIENTS - 1), tail=st.none() | st.integers(0, 8), after=st.none() | st.integers(0, 60))
    def subscribe(self, number: int, tail: int | None, after: int | None) -> None:
        client = self.clients[number]
        if client.hub_client.closing is not None:
            return
        self.take(number)
        data: dict[str, Any] = {"tail": tail}
        if after is not None and self.stream.ids:
            data = {"after": self.stream.ids[after % len(self.stream.ids)]}
        member = client.hub_client.receive(json.dumps({"event": "subscribe-logs", "data": data}), 0.0)
        assert member is not None
        state, request = self.stream.state, member.request
        if request.after is not None:
            beginning = beginning_after(request.after, state)
            cursor, gap = beginning.cursor, beginning.gap
            # After the line that was trimmed last, it is not known whether lines are missing before the next one.
            known = self.stream.index(request.after) - self.stream.removed
            assert gap == (known < 0 or (known == 0 < min(state.length, self.stream.removed)))
        elif request.tail or self.hub.cursor is None:
            lines = min(request.tail or 0, state.length)
            begin = len(self.stream.ids) - lines
            cursor, gap = LogCursor(self.stream.ids[begin - 1] if begin else "0-0", begin), False
        else:
            cursor, gap = LogCursor(self.hub.cursor.id, self.hub.cursor.count), False
        client.hub_client.complete(member, cursor, state.generated, gap=gap)
        client.member, client.page = member, None
        client.told = self.stream.index(cursor.id)
        assert self.frames(client, ("ack", "dropped"))[-1]["data"].get("gap", False) == gap

    @rule(number=st.integers(0, CLIENTS - 1))
    def leave(self, number: int) -> None:
        client = self.clients[number]
        client.hub_client.receive('{"event":"unsubscribe-logs"}', 0.0)
        client.member = client.page = None
        self.frames(client, ("ack", "dropped", "log", "pong"))

    @rule(number=st.integers(0, CLIENTS - 1), written=st.booleans())
    def take(self, number: int, written: bool = True) -> None:
        """Let a client take all frames that wait for it. Without `written`, the outbox still counts them."""
        client = self.clients[number]
        for frame in self.frames(client, ("log", "dropped", "pong"), written=written):
            match frame["event"]:
                case "log":
                    told = self.stream.index(frame["id"])
                    assert client.told in (None, told - 1)
                    client.told = told
                case "dropped" if "approximate" in frame["data"]:
                    assert client.member is not None
                    assert client.member.request.after is not None
                    client.told = None
                case "dropped":
                    assert frame["data"]["count"] > 0
                    client.told = None if client.told is None else client.told + frame["data"]["count"]
                case _:
                    # Everything up to this position came before, and nothing after it.
                    cursor = frame["data"]["after"]
                    assert cursor is None or client.told in (None, self.stream.index(cursor))

    @rule(number=st.integers(0, CLIENTS - 1))
    def ping(self, number: int) -> None:
        # A client that sends pings and does not read fills its outbox, and is closed.
        if self.clients[number].hub_client.outbox.size + 200 < OUTBOX_BYTES:
            self.clients[number].hub_client.receive('{"event":"ping"}', 0.0)

    def frames(self, client: Client, expected: tuple[str, ...], *, written: bool = True) -> list[dict[str, Any]]:
        outbox = client.hub_client.outbox
        assert not outbox.overflowed
        frames = [json.loads(frame.payload) for frame in outbox.take()]
        if written:
            outbox.written()
        assert {frame["event"] for frame in frames} <= set(expected)
        return frames

    # ---- what the server does ----

    @rule(number=st.integers(0, CLIENTS - 1))
    def read_back(self, number: int) -> None:
        client = self.clients[number]
        member = client.member
        if member is None or member.live or member.cursor is None or not client.hub_client.outbox.below_low_water:
            return
        page, start = client.page or (self.stream.page(member.cursor.id), 0)
        index = member.read_back(page, start, self.hub.clock)
        joined = self.hub.join(member, page, index)
        # The subscription went no further, since it is where others are, which may not be at the end.
        client.page = None if joined or index in (start, len(page.entries)) else (page, index)

    @precondition(lambda self: self.read is None)
    @rule()
    def ask(self) -> None:
        if self.hub.cursor is not None:
            self.read = self.hub.cursor, self.stream.page(self.hub.cursor.id), 0

    @rule()
    def publish(self) -> None:
        if self.read is not None:
            cursor, page, start = self.read
            index = self.hub.publish(cursor, page, start)
            self.read = None if index == len(page.entries) else (cursor, page, index)

    @rule()
    def flush(self) -> None:
        while self.hub.flush():
            pass

    @rule()
    def send_dropped(self) -> None:
        self.hub.send_dropped()

    def teardown(self) -> None:
        for _ in range(2 * len(self.stream.ids) + 10):
            if all(client.told in (None, len(self.stream.ids)) for client in self.clients if client.member):
                break
            for number in range(CLIENTS):
                self.read_back(number)
                self.take(number)
            if self.read is None:
                self.ask()
            self.publish()
            self.send_dropped()
        for client in self.clients:
            assert client.member is None or client.told in (None, len(self.stream.ids))


OPERATIONS = (
    *("add", "trim", "subscribe", "leave", "take", "ping", "read_back", "ask"),
    *("publish", "publish", "publish", "flush", "send_dropped"),
)


@pytest.mark.parametrize("seeds", [range(500), pytest.param(range(500, 2000), marks=pytest.mark.thorough)], ids=str)
def test_many_interleavings(seeds: range) -> None:
    """More runs than hypothesis tries, and the same ones every time."""
    for seed in seeds:
        random, machine = Random(seed), LogMachine()
        for _ in range(40):
            number = random.randrange(CLIENTS)
            match random.choice(OPERATIONS):
                case "add":
                    machine.add(random.randint(1, 12))
                case "trim":
                    machine.trim(random.randint(0, 5))
                case "subscribe":
                    tail = random.choice([None, None, random.randint(0, 8)])
                    machine.subscribe(number, tail, random.choice([None, random.randint(0, 60)]))
                case "take":
                    machine.take(number, random.random() < 0.7)
                case "leave" | "ping" | "read_back" as name:
                    getattr(machine, name)(number)
                case "ask" if machine.read is not None:
                    pass
                case name:
                    getattr(machine, name)()
        machine.teardown()


def test_a_client_that_is_read_back_to_meets_the_others_where_they_are() -> None:
    hub = LogHub(NO_RULES, lambda: 0.0, ignore, ignore)
    hub.cursor = LogCursor("2-0", 2)
    connection = LogClient(LogSession(1 << 18, EVERYTHING), hub, 1 << 20, lambda: None)
    member = connection.receive('{"event":"subscribe-logs","data":{"tail":9}}', 0.0)
    assert member is not None
    connection.complete(member, LogCursor("0-0", 0), "3-0", gap=False)
    entries = [(b"%d-0" % number, [b"message", b"m"]) for number in (1, 2, 3)]
    index = member.read_back(page := LogPage(State(3, "1-0", "3-0", 3), entries, full=False), 0, hub.clock)
    assert index == 2
    assert hub.join(member, page, index)
    hub.publish(hub.cursor, LogPage(State(3, "1-0", "3-0", 3), entries[2:], full=False), 0)
    assert [json.loads(frame.payload).get("id") for frame in connection.outbox.take()] == [None, "1-0", "2-0", "3-0"]


TestLogMachine = pytest.mark.long(LogMachine.TestCase)
TestLogMachine.settings = settings(max_examples=SEEDS, stateful_step_count=40)


def state(length: int, first: str, generated: str, added: int | None) -> State:
    return State(length, first, generated, added)


@pytest.mark.parametrize(
    ("cursor", "seen", "missing", "then"),
    [
        (("5-0", 5), state(5, "1-0", "5-0", 5), None, ("5-0", 5)),
        (("5-0", 5), state(3, "6-0", "8-0", 8), None, ("5-18446744073709551615", 5)),
        (("5-0", 5), state(2, "7-0", "8-0", 8), Missing(1, approximate=False), ("6-18446744073709551615", 6)),
        (("5-0", 5), state(0, "0-0", "8-0", 8), Missing(3, approximate=False), ("8-0", 8)),
        (("0-0", 0), state(2, "7-0", "8-0", 8), Missing(6, approximate=False), ("6-18446744073709551615", 6)),
        (("0-0", 0), state(0, "0-0", "0-0", 0), None, ("0-0", 0)),
        # Redis 6 does not count, so the number is estimated from the time.
        (
            ("100-0", None),
            state(11, "200-0", "210-0", None),
            Missing(110, approximate=True),
            ("199-18446744073709551615", None),
        ),
        (("100-0", None), state(0, "0-0", "210-0", None), Missing(1, approximate=True), ("210-0", None)),
        (("0-0", None), state(11, "200-0", "210-0", None), None, ("199-18446744073709551615", None)),
        # Another stream.
        (("9-0", 5), state(2, "3-0", "4-0", 7), Missing(5, approximate=True), ("0-0", 5)),
        (("9-0", 5), state(0, "0-0", "0-0", 0), Missing(0, approximate=True), ("0-0", 0)),
        (("5-0", 5), state(2, "7-0", "8-0", 2), Missing(0, approximate=True), ("6-18446744073709551615", 0)),
    ],
)
def test_what_is_missing(
    cursor: tuple[str, int | None], seen: State, missing: Missing | None, then: tuple[str, int | None]
) -> None:
    here = LogCursor(*cursor)
    assert here.check(seen) == missing
    assert (here.id, here.count) == then
    assert here.check(seen) is None


def test_a_hole_is_approximate_for_a_client_that_filters() -> None:
    hub = LogHub(NO_RULES, lambda: 0.0, ignore, ignore)
    for data, approximate in (({}, None), ({"level": "info"}, True)):
        connection = LogClient(LogSession(1 << 18, EVERYTHING), hub, 1 << 20, lambda: None)
        member = connection.receive(json.dumps({"event": "subscribe-logs", "data": data}), 0.0)
        assert member is not None
        connection.complete(member, LogCursor("5-0", 5), "5-0", gap=False)
        assert hub.join(member, LogPage(State(5, "1-0", "5-0", 5), [], full=False), 0)
        assert hub.cursor is not None
        hub.publish(hub.cursor, LogPage(State(1, "9-0", "9-0", 9), [(b"9-0", [b"message", b"m"])], full=False), 0)
        frames = [json.loads(frame.payload) for frame in connection.outbox.take()]
        assert [frame["event"] for frame in frames] == ["ack", "dropped", "log"]
        assert frames[1]["data"]["count"] == 3
        assert frames[1]["data"].get("approximate") is approximate
        connection.end_all()


def test_a_client_that_filters_is_woken_to_learn_what_is_missing() -> None:
    """The client wants none of the lines that were read, so nothing else wakes its writer."""
    hub, woken = LogHub(NO_RULES, lambda: 0.0, ignore, ignore), []
    connection = LogClient(LogSession(1 << 18, EVERYTHING), hub, 1 << 20, lambda: woken.append("woken"))
    member = connection.receive('{"event":"subscribe-logs","data":{"level":"error"}}', 0.0)
    assert member is not None
    connection.complete(member, LogCursor("5-0", 5), "5-0", gap=False)
    assert hub.join(member, LogPage(State(5, "1-0", "5-0", 5), [], full=False), 0)
    assert [json.loads(frame.payload)["event"] for frame in connection.outbox.take()] == ["ack"]
    woken.clear()
    assert hub.cursor is not None
    hub.publish(hub.cursor, LogPage(State(1, "9-0", "9-0", 9), [(b"9-0", [b"message", b"m"])], full=False), 0)
    while hub.flush():
        pass
    assert woken
    assert [json.loads(frame.payload)["event"] for frame in connection.outbox.take()] == ["dropped"]


def test_a_line_that_is_larger_than_may_wait_is_read_back_or_told_as_dropped() -> None:
    hub = LogHub(NO_RULES, lambda: 0.0, ignore, ignore)
    connection = LogClient(LogSession(1 << 18, EVERYTHING), hub, 1000, lambda: None)
    member = connection.receive('{"event":"subscribe-logs","data":{"tail":9}}', 0.0)
    assert member is not None
    connection.complete(member, LogCursor("0-0", 0), "9-0", gap=False)
    big = [b"message", b"x" * 2000]
    entries = [(b"1-0", big), (b"2-0", [b"message", b"m"]), (b"3-0", big)]
    assert member.read_back(LogPage(State(3, "1-0", "3-0", 3), entries, full=False), 0, hub.clock) == 3
    frames = [json.loads(frame.payload) for frame in connection.outbox.take()]
    assert [frame["event"] for frame in frames] == ["ack", "dropped", "log"]
    connection.outbox.written()
    hub.send_dropped()
    assert [json.loads(frame.payload)["data"] for frame in connection.outbox.take()] == [{"count": 1}]


def test_a_client_that_left_while_a_page_was_on_its_way_gets_nothing_of_it() -> None:
    hub = LogHub(NO_RULES, lambda: 0.0, ignore, ignore)
    connection = LogClient(LogSession(1 << 18, EVERYTHING), hub, 1 << 20, lambda: None)
    member = connection.receive('{"event":"subscribe-logs","data":{"tail":9}}', 0.0)
    assert member is not None
    connection.complete(member, LogCursor("0-0", 0), "9-0", gap=False)
    connection.receive('{"event":"unsubscribe-logs"}', 0.0)
    page = LogPage(State(1, "1-0", "1-0", 1), [(b"1-0", [b"message", b"m"])], full=False)
    assert hub.join(member, page, member.read_back(page, 0, hub.clock))
    assert hub.cursor is None
    assert [json.loads(frame.payload)["event"] for frame in connection.outbox.take()] == ["ack", "ack"]


def test_pages_stay_small() -> None:
    assert next_count([(b"1-0", [b"message", b"x" * 100_000])]) == 1
    assert next_count([(b"1-0", [b"message", b"x"])] * 20) == 80
    assert next_count([(b"1-0", [b"message", b"x"])] * MAX_COUNT) == MAX_COUNT


def test_an_open_filter_is_known() -> None:
    assert LogFilter().is_open
    assert not LogFilter(severity=1).is_open


def test_a_text_of_each_client_is_no_long_step() -> None:
    """Searching a line of 64 KiB takes a millisecond for each text.

    A client that joins meanwhile gets the line, too.
    """
    ticks = count()
    hub = LogHub(NO_RULES, lambda: next(ticks) * 2 * MAX_SECONDS, ignore, ignore)
    clients = []
    for text in ("a", "b", "C", "a", "nowhere"):
        connection = LogClient(LogSession(1 << 18, EVERYTHING), hub, 1 << 20, lambda: None)
        member = connection.receive(json.dumps({"event": "subscribe-logs", "data": {"text": text}}), 0.0)
        assert member is not None
        connection.complete(member, LogCursor("0-0", 0), "0-0", gap=False)
        clients.append((connection, member))
    empty = LogPage(State(), [], full=False)
    assert all(hub.join(member, empty, 0) for _, member in clients[:4])
    page = LogPage(
        State(2, "1-0", "2-0", 2), [(b"1-0", [b"message", b"ABC"]), (b"2-0", [b"message", b"c"])], full=False
    )
    cursor = hub.cursor
    assert cursor is not None
    assert [hub.publish(cursor, page, 0) for _ in range(3)] == [0, 0, 0]
    assert hub.join(clients[4][1], LogPage(page.state, page.entries, full=True), 0)
    steps, index = 0, 0
    while index < 2:
        steps, index = steps + 1, hub.publish(cursor, page, index)
    assert steps == 2 + 5  # each step has one text, or sends one line
    seen = [
        [json.loads(frame.payload).get("id") for frame in connection.outbox.take()][1:] for connection, _ in clients
    ]
    assert seen == [["1-0"], ["1-0"], ["1-0", "2-0"], ["1-0"], []]
