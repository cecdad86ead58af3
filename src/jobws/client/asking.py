"""What the client has to ask the bridge for, within its limits. PURE.

Of more rooms than a connection may have, those that were subscribed longest give their places to those that wait. A
room that was left loses nothing: it comes back with its position.
"""

from __future__ import annotations

from itertools import count, islice
from math import inf
from typing import TYPE_CHECKING, Final

from jobws.client.batches import message, name, split, subscription

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobws.client.room import RoomState
    from jobws.protocol.messages import Limits, Room

# How long a room is kept while others wait for its place.
TURN_SECONDS: Final = 5.0
# While rooms wait for places, those that become free are gathered: the bridge takes 50 messages a second.
GATHER_SECONDS: Final = 0.1


class Asking:
    """The requests of one connection after the other.

    Attributes:
        refs: Numbers for requests.
        asked: Which rooms the unanswered requests are about, in their order.
    """

    def __init__(self) -> None:
        self.refs = count(1)
        self.asked: dict[int, list[RoomState]] = {}
        # Rooms that the bridge is to be told of once more, and new ones.
        self._again: dict[RoomState, None] = {}
        self._waiting: dict[RoomState, None] = {}
        self._retries: dict[RoomState, float] = {}
        # What the bridge may hold for us, the oldest first, and what of it nobody wants any more.
        self._held: dict[Room, RoomState] = {}
        self._leaving: dict[Room, None] = {}
        self._turn_due = self._gather_due = 0.0

    def begin(self, states: Iterable[RoomState], now: float) -> None:
        """A connection stands, which knows nothing yet of these rooms."""
        self.end()
        self._waiting = dict.fromkeys(states)
        self._turn_due = now + TURN_SECONDS
        self._gather_due = now

    def end(self) -> None:
        """The connection ended, and with it everything that the bridge knew of us."""
        for each in (self.asked, self._again, self._waiting, self._retries, self._held, self._leaving):
            each.clear()

    def want(self, state: RoomState) -> None:
        """Have the room subscribed, also if it is already."""
        if not state.parked:
            (self._again if state.room in self._held else self._waiting)[state] = None

    def want_at(self, state: RoomState, due: float) -> None:
        """The bridge refused for now: try again then."""
        self._retries[state] = due

    def wants(self, state: RoomState) -> bool:
        """Whether it is still to be asked for."""
        return state in self._again or state in self._waiting or state in self._retries

    def forget(self, state: RoomState) -> None:
        """Do not ask for it."""
        self._again.pop(state, None)
        self._waiting.pop(state, None)
        self._retries.pop(state, None)

    def abandon(self, room: Room) -> None:
        """Leave the room at the bridge, if it may be there."""
        if room in self._held:
            self._leaving[room] = None

    def holds(self, room: Room) -> bool:
        """Whether the bridge may hold the room for us."""
        return room in self._held

    def gone(self, room: Room) -> None:
        """The bridge has left the room by itself."""
        self._held.pop(room, None)

    def answered(self, ref: int) -> list[RoomState]:
        """The rooms of a request, which was acknowledged."""
        states = self.asked.pop(ref)
        for state in states:
            state.lines.answered(ref)
        return states

    def due(self, limits: Limits) -> float:
        """When there is something to send."""
        if self._leaving or self._again:
            return -inf
        waiting = inf
        if self._waiting:
            waiting = self._turn_due
            if self._free(limits) > 0:
                waiting = -inf if self._worth_a_message(limits) else self._gather_due
        return min(waiting, *self._retries.values(), inf)

    def messages(self, limits: Limits, now: float) -> Iterator[str]:
        """What to send now. The bridge takes requests in their order, so what is left first makes place."""
        for state in [state for state, due in self._retries.items() if due <= now]:
            del self._retries[state]
            self.want(state)
        self._take_turns(limits, now)
        yield from self._unsubscriptions(limits)
        yield from self._subscriptions(limits, now)

    def _free(self, limits: Limits) -> int:
        return max(0, limits.max_subscriptions - len(self._held))

    def _worth_a_message(self, limits: Limits) -> bool:
        return self._free(limits) >= min(len(self._waiting), limits.max_subscriptions // 4 + 1)

    def _take_turns(self, limits: Limits, now: float) -> None:
        if not self._waiting or now < self._turn_due:
            return
        self._turn_due = now + TURN_SECONDS
        if self._free(limits):
            return
        settled = (
            state
            for room, state in self._held.items()
            if state.answered and state.settled and room not in self._leaving and state not in self._again
        )
        for state in list(islice(settled, len(self._waiting))):
            state.leave()
            self.abandon(state.room)
            self._waiting[state] = None

    def _unsubscriptions(self, limits: Limits) -> Iterator[str]:
        leaving, self._leaving = self._leaving, {}
        for room in leaving:
            self._held.pop(room, None)
        for batch in split(((room, name(room)) for room in leaving), limits):
            yield message("unsubscribe-job", (item for _, item in batch), next(self.refs))

    def _subscriptions(self, limits: Limits, now: float) -> Iterator[str]:
        again, self._again = self._again, {}
        for state in again:
            if state.room not in self._held:  # it was left in between, and needs a place
                self._waiting.setdefault(state)
        held = (state for state in again if state.room in self._held)
        ready = self._worth_a_message(limits) or now >= self._gather_due
        chosen = dict.fromkeys([*held, *islice(self._waiting, self._free(limits) if ready else 0)])
        if ready and chosen:
            self._gather_due = now + GATHER_SECONDS
        for state in chosen:
            self._waiting.pop(state, None)
            self._held.pop(state.room, None)
            self._held[state.room] = state
        items = ((state, subscription(state.room, state.events, state.after(), state.logs())) for state in chosen)
        for batch in split(items, limits):
            ref = next(self.refs)
            self.asked[ref] = [state for state, _ in batch]
            for state, _ in batch:
                state.ref, state.answered = ref, False
                state.lines.asked(ref)
            yield message("subscribe-job", (item for _, item in batch), ref, until="end")
