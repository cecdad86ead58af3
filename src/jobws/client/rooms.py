"""The rooms of a client: what to ask the bridge for, and what to hand to whom. PURE.

There is one subscription per room for all who watch it, with `until: "end"`, so that the bridge leaves the room with
the outcome, as the client does. Whoever comes later subscribes the room again: the answer is fresh, and brings the
outcome if there is one.

Nothing here waits or reads a clock. The client calls `receive` with every frame, and sends what `requests` gives.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import msgspec

from jobws.client.asking import Asking
from jobws.client.backoff import Backoff
from jobws.client.event import AckData, Event, Frame, GapData, Result, not_ours
from jobws.client.job_lines import JOB_LOG, room_of
from jobws.client.room import RoomState
from jobws.errors import ClientError, ResponseError
from jobws.protocol.messages import OUTCOMES, Cursor, ErrorData, HelloData, PongData, Room

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.client.watcher import Watcher

# What one watcher may leave unread: above it its rooms are left, and come back when half of it is read.
BACKLOG_BYTES: Final = 64 * 1024 * 1024
# Positions are refreshed, and the bridge shows that it is alive, at least so often.
PING_SECONDS: Final = 20.0
# How soon to ask again whether the bridge has sent what follows an ack; then twice as long, and so on.
SETTLE_SECONDS: Final = 0.5
# Errors that pass by themselves.
_PASSING: Final = frozenset({"unavailable", "unsubscribed", "too-many-subscriptions"})


class Rooms:
    """The rooms, their watchers, and the state of the connection. `chance` gives numbers from 0 to below 1.

    Attributes:
        failure: Why nothing will come any more; None: it goes on.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self.failure: ClientError | None = None
        self._hello: HelloData | None = None  # None: not connected
        self._rooms: dict[Room, RoomState] = {}
        self._asking = Asking()
        self._backoff = Backoff(chance)
        self._unsettled: dict[RoomState, None] = {}
        self._ping_due = self._refresh_due = 0.0
        self._pinging = False
        self._settle_seconds = SETTLE_SECONDS

    # ---- watchers ----

    def join(self, watcher: Watcher) -> None:
        """Begin to watch."""
        for room in list(watcher.open):
            if self.failure is not None:
                watcher.refuse(room, self.failure)
                continue
            state = self._rooms.setdefault(room, RoomState(room))
            state.watchers[watcher] = None
            self._asking.want(state)

    def leave(self, watcher: Watcher) -> None:
        """Watch no longer."""
        for room in watcher.open:
            state = self._rooms.get(room)
            if state is not None and watcher in state.watchers:
                del state.watchers[watcher]
                self._drop_if_empty(state)
        if watcher.full:
            self._unpark(watcher)

    def consume(self, watcher: Watcher, size: int) -> None:
        """A watcher has taken that many bytes of what was handed to it."""
        watcher.backlog -= size
        if watcher.full and watcher.backlog <= BACKLOG_BYTES // 2:
            self._unpark(watcher)

    def fail(self, error: ClientError) -> None:
        """Nothing will come any more: every watcher is told."""
        self.failure = error
        self.disconnected()
        for state in list(self._rooms.values()):
            self._refuse(state, error)

    # ---- the connection ----

    def connected(self, hello: HelloData, now: float) -> None:
        """A connection stands; everything that is watched is to be asked for."""
        self._hello = hello
        self._ping_due = self._refresh_due = now + self.ping_seconds
        self._asking.begin((state for state in self._rooms.values() if not state.parked), now)

    def disconnected(self) -> None:
        """The connection ended, and with it everything that the bridge knew of us."""
        self._hello = None
        self._pinging = False
        self._asking.end()
        self._unsettled.clear()
        for state in self._rooms.values():
            state.leave()

    @property
    def ping_seconds(self) -> float:
        """How often this client asks whether the bridge is alive."""
        return PING_SECONDS if self._hello is None else min(PING_SECONDS, max(1.0, self._hello.heartbeat))

    def due(self) -> float:
        """When `requests` has something to send."""
        if self._hello is None:
            return inf
        return min(self._asking.due(self._hello.limits), inf if self._pinging else self._ping_due)

    def requests(self, now: float) -> list[str]:
        """What to send now."""
        if self._hello is None:
            return []
        messages = list(self._asking.messages(self._hello.limits, now))
        if not self._pinging and now >= self._ping_due:
            self._pinging = True
            messages.append(msgspec.json.encode({"event": "ping", "ref": next(self._asking.refs)}).decode())
        return messages

    def receive(self, frame: Frame, size: int, now: float) -> None:
        """Take a frame that has `size` bytes.

        Raises:
            UnreachableError: It is none of jobws.v1.
        """
        try:
            match frame.event:
                case "ack" if isinstance(frame.ref, int) and frame.ref in self._asking.asked:
                    self._acknowledged(frame.ref, msgspec.convert(frame.data, AckData), now)
                case "error" if isinstance(frame.ref, int) and frame.ref in self._asking.asked:
                    error = msgspec.convert(frame.data, ErrorData)
                    for state in self._asking.asked.pop(frame.ref):
                        self._refused(state, frame.ref, error.code, error.message, now)
                case "pong":
                    self._settle(msgspec.convert(frame.data, PongData), now)
                case "gap":
                    self._gap(msgspec.convert(frame.data, GapData), size, now)
                case event if event == JOB_LOG and isinstance(frame.data, dict):
                    followed = self._rooms.get(room_of(frame.data))
                    if followed is not None and (lines := followed.take_lines(frame.data, size)) is not None:
                        self._hand(followed, lines, size)
                case _ if frame.ref is None and isinstance(frame.data, dict):
                    self._event(Event(frame.event, frame.data, frame.id, frame.replayed), size)
        except msgspec.ValidationError as error:
            raise not_ours(error) from None

    # ---- what comes ----

    def _acknowledged(self, ref: int, ack: AckData, now: float) -> None:
        for state, result in zip(self._asking.answered(ref), ack.results, strict=False):
            if result.error is not None:
                self._refused(state, ref, result.error.code, result.error.message, now)
            elif state.room not in self._rooms:
                self._asking.abandon(state.room)  # it ended, or was left, before it was answered
            elif self._rooms[state.room] is state and state.ref == ref:
                self._subscribed(state, ack, result)
        for evicted in ack.evicted:
            room = Room(evicted.queue or None, str(evicted.job_id))
            self._asking.gone(room)
            if (known := self._rooms.get(room)) is not None and known.answered:
                known.leave()
                self._asking.want(known)
        if any(result.error is None for result in ack.results):
            self._backoff.reset()
        if any(result.replays for result in ack.results):
            self._refresh_due = now
        self._settle_soon(now)

    def _settle_soon(self, now: float) -> None:
        self._settle_seconds = SETTLE_SECONDS
        if self._unsettled and not self._pinging:
            self._ping_due = now

    def _subscribed(self, state: RoomState, ack: AckData, result: Result) -> None:
        state.acknowledge(ack, result)
        self._unsettled[state] = None
        for watcher in list(state.watchers):
            watcher.answer(state.room, result.jobs, state.lines)
        if result.gap:
            data: dict[str, object] = {"queue": state.room.queue, "jobs": [state.room.job_id]}
            self._hand(state, Event("gap", data), 0)
        self._try_to_settle(state, ack.cursor)

    def _refused(self, state: RoomState, ref: int, code: str, sentence: str, now: float) -> None:
        if self._rooms.get(state.room) is not state or state.ref != ref:
            return
        self._asking.gone(state.room)
        state.leave()
        if code in _PASSING:
            self._asking.want_at(state, now + self._backoff.next())
        else:
            self._refuse(state, ResponseError(code, f"{state.room.job_id}: {sentence}"))

    def _settle(self, pong: PongData, now: float) -> None:
        self._pinging = False
        for state in list(self._unsettled):
            self._try_to_settle(state, pong.cursor)
        if now >= self._refresh_due:
            if not self._unsettled:
                self._refresh_due = now + self.ping_seconds
            for state in self._rooms.values():
                if state.settled and state.covered(pong.cursor):
                    state.reach(pong.cursor)
        self._ping_due = now + self.ping_seconds
        if self._unsettled:
            self._ping_due = now + self._settle_seconds
            self._settle_seconds = min(2 * self._settle_seconds, self.ping_seconds)

    def _try_to_settle(self, state: RoomState, cursor: Cursor) -> None:
        """Everything up to `cursor` was sent. A job that was not there has vanished, or never was."""
        # Whoever came since is told by an answer of their own.
        if not state.answered or self._asking.wants(state) or not state.covered(cursor):
            return
        room = state.room
        self._unsettled.pop(state, None)
        for event, size in state.take_held():
            if self._rooms.get(room) is state and state.admit(event, str(event.data["queue"])):
                self._hand(state, event, size, left=False)
        if self._rooms.get(room) is not state:
            return
        state.reach(cursor)
        if state.present:
            return
        if state.known:
            data: dict[str, object] = {"jobId": room.job_id, "queue": room.queue}
            self._hand(state, Event("removed", data, replayed=True), 0, left=False)
            return
        for watcher in [watcher for watcher in state.watchers if watcher.strict]:
            watcher.refuse(room, state.unknown())
            del state.watchers[watcher]
        self._drop_if_empty(state)

    def _event(self, event: Event, size: int) -> None:
        queue, job_id = event.data.get("queue"), event.data.get("jobId")
        if not isinstance(queue, str) or not isinstance(job_id, str):
            return
        named, anywhere = Room(queue, job_id), Room(None, job_id)
        for room, other in ((named, anywhere), (anywhere, named)):
            state = self._rooms.get(room)
            if state is None:
                continue
            early = state.held or self._asking.holds(other)
            doubtful = not state.listening or (not state.settled and early)
            if doubtful and state.ref is not None:
                # The bridge sends a live event once, whichever room it is for, and it may do so before our ack, or
                # before what is replayed after it.
                state.held.append((event, size))
            elif state.listening and state.admit(event, queue):
                # What is replayed for a settled room was the other one's.
                self._hand(state, event, size, left=not (event.replayed and state.settled))

    def _gap(self, gap: GapData, size: int, now: float) -> None:
        event = Event("gap", {"queue": gap.queue, "jobs": gap.jobs, "reason": gap.reason})
        named = None if gap.jobs is None else set(gap.jobs)
        for state in list(self._rooms.values()):
            room = state.room
            if state.listening and room.queue in (gap.queue, None) and (named is None or room.job_id in named):
                state.interrupt(gap.queue, gap.cursor)
                self._unsettled[state] = None
                self._hand(state, event, size)
        self._settle_soon(now)

    # ---- handing out, and ends ----

    def _hand(self, state: RoomState, event: Event, size: int, *, left: bool = True) -> None:
        """Hand an event to who watches the room. `left`: if it is an outcome, the bridge has left the room with it."""
        for watcher in list(state.watchers):
            watcher.deliver(state.room, event, size)
        if event.event in OUTCOMES:
            self._drop(state)
            if state.answered:  # otherwise the answer, if one is due, will tell that nobody waits for it
                # Without a queue the bridge stays until every queue that has the job has told its outcome (S5).
                (self._asking.gone if left and state.room.queue else self._asking.abandon)(state.room)
        for watcher in state.watchers:
            if watcher.backlog > BACKLOG_BYTES and not watcher.full:
                self._park(watcher)

    def _refuse(self, state: RoomState, error: ClientError) -> None:
        self._drop(state)
        for watcher in list(state.watchers):
            watcher.refuse(state.room, error)

    def _drop_if_empty(self, state: RoomState) -> None:
        if not state.watchers:
            self._drop(state)
            self._asking.abandon(state.room)

    def _drop(self, state: RoomState) -> None:
        del self._rooms[state.room]
        self._asking.forget(state)
        self._unsettled.pop(state, None)

    def _park(self, watcher: Watcher) -> None:
        watcher.full = True
        for state in [self._rooms[room] for room in watcher.open]:
            state.parked = True
            state.leave()
            self._asking.forget(state)
            self._unsettled.pop(state, None)
            self._asking.abandon(state.room)

    def _unpark(self, watcher: Watcher) -> None:
        watcher.full = False
        for room in watcher.open:
            state = self._rooms.get(room)
            if state is not None and state.parked and not any(each.full for each in state.watchers):
                state.parked = False
                self._asking.want(state)
