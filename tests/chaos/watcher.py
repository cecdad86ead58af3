"""A client that watches whole queues, and notes which events it got, and how far it was told that none is missing."""

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
    """A `pong` says that everything up to there was sent, a `gap` that events may be missing: none that is later.

    `before` is how many events had come by then.
    """

    frame: Literal["pong", "gap"]
    position: str
    before: int


class Watch:
    """One queue, watched over one connection.

    Attributes:
        begin: Everything after that position is to come, and everything that is added from now on.
        got: The ids of its events, as they came.
        claims: What was said of them.
    """

    def __init__(self, name: str, begin: str) -> None:
        self.begin = begin
        self.got: list[str] = []
        self.claims: list[Claim] = []
        self._name = name
        self._began_at = _now()

    def end(self) -> str:
        """How far it was told that it has everything."""
        pongs = (claim.position for claim in self.claims if claim.frame == "pong")
        return max(pongs, key=position, default=self.begin)

    def judge(self, entries: list[Added]) -> Judgement:
        """Compare it with what the stream had."""
        got = set(self.got)
        # A queue without a stream has no position; before it there may have been another one.
        begin = f"{self._began_at:.0f}-0" if self.begin == START else self.begin
        due = [each for each in entries if each.has_job and position(begin) < position(each.id)]
        by_pong: dict[Claim, list[str]] = {}
        told: dict[Claim, list[str]] = {}
        for each in due:
            if each.id in got:
                continue
            # What the first to speak of it says counts.
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
            self._wrong({each.id for each in entries if each.has_job}),
            Counter({**counts, "gaps": gaps}),
        )

    def _wrong(self, due: set[str]) -> list[str]:
        """What came and should not have come, or not then."""
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
            # A stream that is read again after a gap may have more before that position.
            count = next((each.before for each in self.claims[index:] if each.frame == "gap"), len(self.got))
            late = [id for id in self.got[claim.before : count] if position(id) <= position(claim.position)]
            if claim.frame == "pong" and late:
                wrong.append(f"{self._name}: {late[0]} came after a pong that says {claim.position}")
        return wrong


class Judgement(NamedTuple):
    """What came of a watch.

    Attributes:
        silent: Events that did not come though a `pong` says that they did.
        doubles: Events that came twice.
        wrong: Whatever else must not be.
        counts: How many `events` came, how many did not and were `told as missing`, and the `gaps`, some of them
            `needless`: between one and what was said before it, all events came.
    """

    silent: list[str]
    doubles: list[str]
    wrong: list[str]
    counts: Counter[str]


class Watcher:
    """Watches some queues from random moments on, and comes back whenever it is cut off."""

    def __init__(self, name: str, queues: Mapping[str, float], random: Random, proxy: Proxy) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.watches: dict[str, list[Watch]] = {queue: [] for queue in queues}
        self.name = name
        self._random = random
        self._proxy = proxy
        # When to ask for what; what waits for an answer, or has it, is in neither.
        self._due = {queue: at + random.choice((0.0, random.uniform(0, 8))) for queue, at in queues.items()}
        self._refused: set[str] = set()
        self._asked: dict[int, str] = {}
        self._current: dict[str, Watch] = {}
        self._by_sub: dict[int, Watch] = {}
        self._numbers = itertools.count(1)

    def unconfirmed(self, ends: Mapping[str, str]) -> list[str]:
        """The queues that it watches of which it was not told that it has everything, up to the ends of the streams."""
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
            # A client that earns 20 errors in 10 s is sent away.
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
    """In epoch milliseconds, as stream ids begin."""
    return time.time() * 1000
