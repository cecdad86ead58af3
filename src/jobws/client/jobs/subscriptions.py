"""The subscriptions of a client: makes requests, and passes each frame to its subscription. Pure.

Each job of each watch has a subscription. All have `until: "end"`, so the bridge ends a subscription when it sends the
outcome. No function here waits or reads a clock.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw

from jobws.client.frames import AckData, Event, Frame, Result, not_ours
from jobws.client.jobs.places import Places
from jobws.errors import ClientError, ResponseError
from jobws.protocol.messages import Cursor, GapData, HelloData, ItemError, PongData, Ref, Sub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jobws.client.jobs.subscription import Subscription, Watch

# The largest backlog of a watch. Above it, its subscriptions are ended. At half of it, they are requested again.
BACKLOG_BYTES: Final = 64 * 1024 * 1024
# Temporary errors. The client asks again after AGAIN_SECONDS and up to a second more.
_PASSING: Final = frozenset({"unavailable", "unsubscribed", "too-many-subscriptions", "expired"})
AGAIN_SECONDS: Final = 0.5
# How many bytes a message has in addition to its items, at most.
_ENVELOPE_BYTES: Final = 128


class Subscriptions:
    """The subscriptions of one client, across its connections. This is the `Talk` of its `Session`.

    Args:
        chance: Returns random numbers from 0 to below 1.
        backlog_bytes: The largest backlog of a watch.
    """

    def __init__(self, chance: Callable[[], float], backlog_bytes: int = BACKLOG_BYTES) -> None:
        self.failure: ClientError | None = None  # why no further connection will be made; None while one may be
        self._chance = chance
        self._backlog_bytes = backlog_bytes
        self._watches: dict[Watch, None] = {}
        self._max_message = 0
        self._places = Places(0)  # none while there is no connection
        # By the ref of each unanswered request, the names of the subscriptions in it.
        self._asked: dict[Ref | None, list[Sub | None]] = {}
        self._numbers = count(1)

    # ---- watches ----

    def join(self, watch: Watch) -> None:
        """Add a watch, and request its subscriptions. After `fail`, end them immediately."""
        self._watches[watch] = None
        self._want(watch)
        if self.failure is not None:
            self.fail(self.failure)

    def leave(self, watch: Watch) -> None:
        """Remove a watch, which then gets no more items, and end its subscriptions at the bridge."""
        self._watches.pop(watch, None)
        self._drop(watch)

    def consume(self, watch: Watch, size: int) -> None:
        """Subtract `size` bytes, which the user took, from a watch's backlog. At half the limit, the watch resumes."""
        watch.backlog -= size
        if watch.full and watch.backlog <= self._backlog_bytes // 2:
            watch.full = False
            self._want(watch)

    def fail(self, error: ClientError) -> None:
        """Set `failure`, and end every subscription with `error` as its last item."""
        self.failure = error
        self.disconnected()
        for subscription in [each for watch in self._watches for each in watch.open]:
            subscription.end(error)

    # ---- the connection ----

    def connected(self, hello: HelloData, now: float) -> None:
        """Request all subscriptions on a new connection."""
        self._max_message = hello.limits.max_message
        self._places = Places(hello.limits.max_subscriptions)
        for watch in self._watches:
            self._want(watch)

    def disconnected(self) -> None:
        """Release all subscriptions, since the connection ended. They keep their positions."""
        self._asked.clear()
        for subscription in self._places.taken.values():
            subscription.release()
        self._places = Places(0)

    def due(self) -> float:
        """Return from when on `requests` has messages to send: -inf for now, inf if none until something changes."""
        return self._places.due()

    def requests(self, now: float) -> list[str]:
        """Return the messages to send now, once. `unsubscribe-job` comes first, since it frees places."""
        limit = self._max_message - _ENVELOPE_BYTES
        items = {msgspec.json.encode(each.item()): each.sub for each in self._places.take(self._numbers, now)}
        leaving, self._places.leaving = map(msgspec.json.encode, self._places.leaving), []
        messages = [_request("unsubscribe-job", batch, next(self._numbers)) for batch in _lists(leaving, limit)]
        for batch in _lists(items, limit):
            ref = next(self._numbers)
            self._asked[ref] = [items[item] for item in batch]
            messages.append(_request("subscribe-job", batch, ref, until="end"))
        return messages

    # ---- frames ----

    def receive(self, frame: Frame, size: int, now: float) -> None:
        """Pass a frame to its subscriptions. Raises UnreachableError if it is not a frame of jobws.v1."""
        try:
            match frame.event:
                case "ack" if frame.ref in self._asked:
                    ack = msgspec.convert(frame.data, AckData)
                    for sub, result in zip(self._asked.pop(frame.ref), ack.results, strict=True):
                        self._answered(sub, ack.after, result, now)
                    for subscription in [each for evicted in ack.evicted for each in self._acked(evicted.sub)]:
                        self._places.drop(subscription, tell=False)
                        self._places.want(subscription)
                case "error" | "ended" if frame.ref in self._asked or frame.sub is not None:
                    refused = Result(error=msgspec.convert(frame.data, ItemError))
                    for sub in self._asked.pop(frame.ref, [frame.sub]):
                        self._answered(sub, {}, refused, now)
                case "pong":
                    reached = msgspec.convert(frame.data, PongData).after
                    for subscription in self._acked(None):
                        subscription.advance(reached)
                case "gap":
                    gap = msgspec.convert(frame.data, GapData)
                    for subscription in self._acked(frame.sub):
                        subscription.report_gap(gap, size)
                        self._passed_on(subscription, tell=False)
                case _ if frame.sub is not None and isinstance(frame.data, dict):
                    for subscription in self._acked(frame.sub):
                        subscription.receive(Event(frame.event, frame.data, frame.id, frame.replayed), size)
                        self._passed_on(subscription, tell=False)
        except (msgspec.ValidationError, ValueError) as error:
            raise not_ours(error) from None

    def _acked(self, sub: object) -> list[Subscription]:
        """Return the subscription named `sub`, or all for None: only acknowledged ones that have not ended."""
        taken = self._places.taken
        found = taken.values() if sub is None else [taken[sub]] if sub in taken else []
        return [each for each in found if each.acked]

    def _answered(self, sub: Sub | None, common: Cursor, result: Result, now: float) -> None:
        subscription, error = self._places.taken.get(sub), result.error
        if subscription is None:  # it was dropped meanwhile
            return
        if error is None:
            subscription.acknowledge(common, result)
        elif error.code in _PASSING:
            self._places.drop(subscription, tell=False)
            self._places.want(subscription, now + AGAIN_SECONDS + self._chance())
        else:
            subscription.end(ResponseError(error.code, f"{subscription.room.job_id}: {error.message}"))
        self._passed_on(subscription, tell=error is None)

    def _passed_on(self, subscription: Subscription, *, tell: bool) -> None:
        """Drop the subscription if it has ended (see `Places.drop`), and all of a watch with too much backlog."""
        watch = subscription.watch
        if subscription not in watch.open:
            self._places.drop(subscription, tell=tell)
        if watch.backlog > self._backlog_bytes and not watch.full:
            watch.full = True
            self._drop(watch)

    def _want(self, watch: Watch) -> None:
        for subscription in {} if watch.full else watch.open:
            self._places.want(subscription)

    def _drop(self, watch: Watch) -> None:
        for subscription in watch.open:
            self._places.drop(subscription, tell=True)


def _lists(items: Iterable[bytes], limit: int) -> Iterator[list[bytes]]:
    """Yield the items in order, in as few lists of at most `limit` bytes as possible."""
    batch: list[bytes] = []
    size = 0
    for item in items:
        size += len(item) + 1
        if batch and size > limit:
            yield batch
            batch, size = [], len(item) + 1
        batch.append(item)
    if batch:
        yield batch


def _request(event: str, items: list[bytes], ref: int, **common: str) -> str:
    data = {**common, "jobs": [Raw(item) for item in items]}
    return msgspec.json.encode({"event": event, "ref": ref, "data": data}).decode()
