"""A client that watches whole queues, and notes which events it got, and how far it was told that none is missing."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import trio

from jobws.protocol.identifiers import START, position
from tests.chaos.raw import Frame, is_lost, websocket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    import trio_websocket

    from tests.chaos.appendonly import Added
    from tests.chaos.proxy import Proxy

# A queue that is not known yet is asked for again, and no more often than a bridge puts up with.
AGAIN_SECONDS: Final = 1.0
PING_SECONDS: Final = 0.5


class Claim(NamedTuple):
    """A `pong` says that everything up to there was sent, a `gap` that events up to there may be missing.

    `before` is how many events had come by then.
    """

    frame: Literal["pong", "gap"]
    position: str
    before: int


class Watch:
    """One queue, watched over one connection.

    Attributes:
        begin: Everything after that position is to come.
        got: The ids of its events, as they came.
        claims: What was said of them.
    """

    def __init__(self, name: str, begin: str) -> None:
        self.begin = begin
        self.got: list[str] = []
        self.claims: list[Claim] = []
        self._name = name

    def end(self) -> str:
        """How far something was said."""
        return max((claim.position for claim in self.claims), key=position, default=self.begin)

    def judge(self, entries: list[Added]) -> Judgement:
        """Compare it with what the stream had."""
        got = set(self.got)
        begin, end = position(self.begin), position(self.end())
        due = [each.id for each in entries if each.has_job and begin < position(each.id)]
        missing = [id for id in due if id not in got and position(id) <= end]
        by_pong: dict[Claim, list[str]] = {}
        told: dict[Claim, list[str]] = {}
        for id in missing:
            # What the first to speak of it says counts.
            claim = next(claim for claim in self.claims if position(claim.position) >= position(id))
            (by_pong if claim.frame == "pong" else told).setdefault(claim, []).append(id)
        silent = [
            f"{self._name}: {len(ids)} events from {ids[0]} to {ids[-1]} did not come, and a pong says {claim.position}"
            for claim, ids in by_pong.items()
        ]
        gaps = sum(claim.frame == "gap" for claim in self.claims)
        doubles = [f"{self._name}: {id} came {times} times" for id, times in Counter(self.got).items() if times > 1]
        counts = {"events": len(got), "told as missing": sum(map(len, told.values())), "needless": gaps - len(told)}
        return Judgement(silent, doubles, self._wrong(set(due)), Counter({**counts, "gaps": gaps}))

    def _wrong(self, due: set[str]) -> list[str]:
        """What came and should not have come, or not then."""
        wrong = [f"{self._name}: {id} came, which is no event after {self.begin}" for id in set(self.got) - due]
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
        self._asked: dict[int, str] = {}
        self._current: dict[str, Watch] = {}
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
            self.counts["connections lost"] += 1
            self._due.update(dict.fromkeys((*self._asked.values(), *self._current), 0.0))
            self._asked.clear()
            self._current.clear()
            await trio.sleep(self._random.uniform(0, wait))
            wait = min(2 * wait, 1.0)

    async def _write(self, socket: trio_websocket.WebSocketConnection, started: float) -> None:
        while True:
            now = trio.current_time() - started
            for queue in [queue for queue, at in self._due.items() if at <= now]:
                del self._due[queue]
                ref = next(self._numbers)
                self._asked[ref] = queue
                request = {"event": "subscribe-queue", "ref": ref, "data": {"queue": queue, "events": ["*"]}}
                await socket.send_message(json.dumps(request))
            await socket.send_message('{"event":"ping"}')
            await trio.sleep(self._random.uniform(0, 2 * PING_SECONDS))

    def _receive(self, frame: Frame, now: float) -> None:
        data: Any = frame["data"]
        match frame["event"]:
            case "hello":
                pass
            case "ack":
                queue = self._asked.pop(frame["ref"])
                watch = Watch(f"{self.name} {queue}", data["cursor"].get(queue, START))
                self._current[queue] = watch
                self.watches[queue].append(watch)
            case "pong":
                for queue, watch in self._current.items():
                    if queue in data["cursor"]:
                        watch.claims.append(Claim("pong", data["cursor"][queue], len(watch.got)))
            case "gap":
                self.counts[f"gap: {data['reason']}"] += 1
                if (told := self._current.get(data["queue"])) is not None:
                    told.claims.append(Claim("gap", data["cursor"][data["queue"]], len(told.got)))
            case "error":
                self.counts[f"error {data['code']}"] += 1
                if data["code"] not in ("unknown-queue", "unavailable"):
                    self.faults.append(f"{self.name}: {frame}")
                self._due[self._asked.pop(frame["ref"])] = now + AGAIN_SECONDS
            case _ if data["queue"] in self._current:
                self._current[data["queue"]].got.append(frame["id"])
            case _:
                self.faults.append(f"{self.name}: an event before its ack: {frame}")
