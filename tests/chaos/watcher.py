"""A client that watches whole queues.

It notes which events it got, and up to where the bridge said that none is missing.
"""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import trio

from jobws.protocol.identifiers import START, position
from tests.chaos.patience import AGAIN_SECONDS
from tests.chaos.raw import Frame, is_lost, sent_away, websocket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    import trio_websocket

    from tests.chaos.appendonly import Added
    from tests.chaos.proxy import Proxy

PING_SECONDS: Final = (0.4, 0.8)
MAX_SEQUENCE: Final = 2**64 - 1


class Claim(NamedTuple):
    """What the bridge says about the events up to a position.

    A `pong` says that all of them were sent. A `gap` says that some may be missing.

    `before` is how many events had come when the bridge said this.
    """

    frame: Literal["pong", "gap"]
    position: str
    before: int


class Watch:
    """What came of one queue over one connection.

    Attributes:
        begin: The position after which every event must come.
        got: The ids of the events, in the order in which they came.
        claims: What the bridge said about the events, in order.
    """

    def __init__(self, name: str, begin: str) -> None:
        self.begin = begin
        self.got: list[str] = []
        self.claims: list[Claim] = []
        self._name = name
        self._began_at = _now()

    def end(self) -> str:
        """Return the position up to which the bridge said that everything was sent."""
        pongs = (claim.position for claim in self.claims if claim.frame == "pong")
        return max(pongs, key=position, default=self.begin)

    def judge(self, entries: list[Added]) -> Judgement:
        """Compare what came with all entries that the stream ever had."""
        got = set(self.got)
        # A queue without a stream has no position. The time of the subscription counts instead, since an earlier stream
        # may have had entries.
        begin = f"{self._began_at:.0f}-0" if self.begin == START else self.begin
        due = [each for each in entries if position(begin) < position(each.id)]
        by_pong: dict[Claim, list[str]] = {}
        told: dict[Claim, list[str]] = {}
        for each in due:
            if each.id in got:
                continue
            # The first claim that covers the event counts.
            for claim in self.claims:
                if position(claim.position) >= position(each.id):
                    (by_pong if claim.frame == "pong" else told).setdefault(claim, []).append(each.id)
                    break
        silent = [
            f"{self._name}: {len(ids)} events from {ids[0]} to {ids[-1]} did not come, and a pong says {claim.position}"
            for claim, ids in by_pong.items()
        ]
        gaps = sum(claim.frame == "gap" for claim in self.claims)
        doubles = [f"{self._name}: {id} came {times} times" for id, times in Counter(self.got).items() if times > 1]
        counts = {"events": len(got), "told as missing": sum(map(len, told.values())), "needless": gaps - len(told)}
        return Judgement(
            silent,
            doubles,
            self._wrong({each.id for each in entries}),
            Counter({**counts, "gaps": gaps}),
        )

    def _wrong(self, due: set[str]) -> list[str]:
        """Return sentences about events that should not have come, or not in this order."""
        wrong = [
            f"{self._name}: {id} came, which is no event after {self.begin}"
            for id in self.got
            if id not in due or position(id) <= position(self.begin)
        ]
        for count, (before, id) in enumerate(itertools.pairwise(self.got), 1):
            gaps = any(claim.frame == "gap" and claim.before == count for claim in self.claims)
            if position(id) < position(before) and not gaps:
                wrong.append(f"{self._name}: {id} came after {before}")
        for index, claim in enumerate(self.claims):
            # After a gap, the stream is read again, and earlier events may come.
            count = next((each.before for each in self.claims[index:] if each.frame == "gap"), len(self.got))
            late = [id for id in self.got[claim.before : count] if position(id) <= position(claim.position)]
            if claim.frame == "pong" and late:
                wrong.append(f"{self._name}: {late[0]} came after a pong that says {claim.position}")
        return wrong


class Judgement(NamedTuple):
    """The result of a watch.

    Attributes:
        silent: Sentences about events that did not come, although a `pong` says so.
        doubles: Sentences about events that came twice.
        wrong: Sentences about everything else that must not happen.
        counts: How many `events` came, how many did not and were `told as missing` by a gap, how many `gaps` came, and
            how many of these were `needless`, since all events up to there had come.
    """

    silent: list[str]
    doubles: list[str]
    wrong: list[str]
    counts: Counter[str]


class Watcher:
    """Watches some queues from random moments on. Returns whenever it is cut off."""

    def __init__(self, name: str, queues: Mapping[str, float], random: Random, proxy: Proxy) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.watches: dict[str, list[Watch]] = {queue: [] for queue in queues}
        self.name = name
        self._random = random
        self._proxy = proxy
        # When to subscribe to which queue, at first and after a refusal. A queue whose subscription waits for an
        # answer, or has one, is in neither.
        self._due = {queue: at + random.choice((0.0, random.uniform(0, 8))) for queue, at in queues.items()}
        self._refused: set[str] = set()
        self._asked: dict[int, str] = {}
        self._current: dict[str, Watch] = {}
        self._by_sub: dict[int, Watch] = {}
        self._numbers = itertools.count(1)

    def unconfirmed(self, ends: Mapping[str, str]) -> list[str]:
        """Return the queues for which the bridge has not said that everything up to the stream's end (`ends`) was
        sent.
        """
        return [
            queue
            for queue in self.watches.keys() & ends.keys()
            if queue not in self._current or position(self._current[queue].end()) < position(ends[queue])
        ]

    async def run(self, started: float) -> None:
        """Watch until cancelled."""
        wait = 0.05
        while True:
            try:
                async with websocket(self._proxy.port, "/ws") as socket, trio.open_nursery() as nursery:
                    wait = 0.05
                    nursery.start_soon(self._write, socket, started)
                    while True:
                        self._receive(json.loads(await socket.get_message()), trio.current_time() - started)
            except Exception as error:
                if not is_lost(error):
                    raise
                if why := sent_away(error):
                    self.faults.append(f"{self.name}: {why}")
            self.counts["connections lost"] += 1
            self._due.update(dict.fromkeys((*self._asked.values(), *self._current), 0.0))
            self._asked.clear()
            self._current.clear()
            self._by_sub.clear()
            await trio.sleep(self._random.uniform(0, wait))
            wait = min(2 * wait, 1.0)

    async def _write(self, socket: trio_websocket.WebSocketConnection, started: float) -> None:
        while True:
            now = trio.current_time() - started
            due = [queue for queue, at in self._due.items() if at <= now]
            # The bridge closes the connection of a client that causes 20 errors in 10 s.
            known, unknown = [queue for queue in due if queue not in self._refused], self._refused.intersection(due)
            for queue in (*known, *sorted(unknown)[:1]):
                del self._due[queue]
                ref = next(self._numbers)
                self._asked[ref] = queue
                data = {"queue": queue, "events": ["*"], "sub": ref}
                request = {"event": "subscribe-queue", "ref": ref, "data": data}
                await socket.send_message(json.dumps(request))
            await socket.send_message('{"event":"ping"}')
            await trio.sleep(self._random.uniform(*PING_SECONDS))

    def _receive(self, frame: Frame, now: float) -> None:
        data: Any = frame["data"]
        match frame["event"]:
            case "hello":
                pass
            case "ack":
                queue = self._asked.pop(frame["ref"])
                self._refused.discard(queue)
                watch = Watch(f"{self.name} {queue}", data["after"][queue])
                self._current[queue] = watch
                self._by_sub[frame["ref"]] = watch
                self.watches[queue].append(watch)
            case "pong":
                for queue, watch in self._current.items():
                    if queue in data["after"]:
                        watch.claims.append(Claim("pong", data["after"][queue], len(watch.got)))
            case "gap":
                self.counts[f"gap: {data['reason']}"] += 1
                if (told := self._current.get(data["queue"])) is not None:
                    told.claims.append(Claim("gap", f"{_now():.0f}-{MAX_SEQUENCE}", len(told.got)))
            case "error":
                self.counts[f"error {data['code']}"] += 1
                if data["code"] not in ("unknown-queue", "unavailable"):
                    self.faults.append(f"{self.name}: {frame}")
                queue = self._asked.pop(frame["ref"])
                self._due[queue] = now + AGAIN_SECONDS
                self._refused.add(queue)
            case _ if (of := self._by_sub.get(frame.get("sub", 0))) is not None and of is self._current[data["queue"]]:
                of.got.append(frame["id"])
            case _:
                self.faults.append(f"{self.name}: an event of no subscription, or before its ack: {frame}")


def _now() -> float:
    """Return the time in milliseconds since 1970, as in stream ids."""
    return time.time() * 1000
