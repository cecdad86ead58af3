"""The subscriptions of a client: makes requests, and passes each frame to its subscription. Pure.

Each job of each watch has a subscription. All have `until: "end"`, so the bridge ends a subscription when it sends the
outcome. Those to whole queues have no end. No function here waits or reads a clock.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from jobws.client.frames import AckData, Event, Frame, JsonObject, Result, not_ours
from jobws.client.jobs.places import Places
from jobws.errors import ClientError, ResponseError
from jobws.protocol.messages import Cursor, HelloData, ItemError, PongData, Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobws.client.jobs.subscription import Subscription, Watch

# The largest backlog of a watch. Above it, the watch's subscriptions end at the bridge, until half is left.
BACKLOG_BYTES: Final = 64 * 1024 * 1024
_TEMPORARY: Final = frozenset({"unavailable", "unsubscribed", "too-many-subscriptions", "expired"})
AGAIN_SECONDS: Final = 0.5  # after such a temporary error, the client subscribes again, up to a second later


class Subscriptions:
    """The subscriptions of one client, across its connections. This is the `Exchange` of its `Session`.

    Args:
        chance: Returns random numbers from 0 to below 1, which spread the times when clients subscribe again.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self.failure: ClientError | None = None  # why no further connection will be made; None while one may be
        self._chance = chance
        self._watches: dict[Watch, None] = {}
        self._max_message = 0
        self._places = Places(0)  # none while there is no connection
        # By the ref of each unanswered request, the names of the subscriptions in it.
        self._asked: dict[Ref | None, list[object]] = {}
        self._numbers = count(1)

    def join(self, watch: Watch) -> None:
        """Add a watch, and request its subscriptions. After `fail`, end them immediately."""
        self._watches[watch] = None
        for subscription in watch.open:
            self._places.enqueue(subscription)
        if self.failure is not None:
            self.fail(self.failure)

    def leave(self, watch: Watch) -> None:
        """Remove a watch, which then gets no more items, and end its subscriptions at the bridge."""
        self._watches.pop(watch, None)
        watch.full = False
        for subscription in watch.open:
            self._places.remove(subscription, tell=True)

    def consume(self, watch: Watch, size: int) -> None:
        """Subtract `size` bytes, which the user took, from a watch's backlog. At half the limit, subscribe again."""
        watch.backlog -= size
        if watch.full and watch.backlog <= BACKLOG_BYTES // 2:
            watch.full = False
            self.join(watch)

    def fail(self, error: ClientError) -> None:
        """Set `failure`, and end every subscription with `error` as its last item."""
        self.failure = error
        self._places = Places(0)
        for subscription in [each for watch in self._watches for each in watch.open]:
            subscription.end(error)

    def connected(self, hello: HelloData, now: float) -> None:
        """Request all subscriptions from their positions, on a connection with `hello.limits`. `now` is unused."""
        self._max_message = hello.limits.max_message
        self._places = Places(hello.limits.max_subscriptions)
        self._asked = {}
        for subscription in [each for watch in self._watches for each in watch.open]:
            self._places.enqueue(subscription)

    def due(self) -> float:
        """Return when to call `requests` next. -inf or a past time: now. inf: not until another method was called."""
        return self._places.due

    def requests(self, now: float) -> list[str]:
        """Return the messages to send now; no later call repeats them. `unsubscribe-…` is first: it frees places."""
        items = [each.subscribe_item() for each in self._places.assign(self._numbers, now)]
        left, self._places.to_unsubscribe = self._places.to_unsubscribe, []
        return [*self._both("unsubscribe", left), *self._both("subscribe", items, until="end")]

    def _both(self, verb: str, items: list[JsonObject], **of_jobs: str) -> Iterator[str]:
        """Yield requests `<verb>-job`, each with `of_jobs` in its data, and `<verb>-queue` for whole queues."""
        yield from self._messages(f"{verb}-job", "jobs", [each for each in items if "jobId" in each], **of_jobs)
        yield from self._messages(f"{verb}-queue", "queues", [each for each in items if "jobId" not in each])

    def _messages(self, event: str, key: str, items: list[JsonObject], **common: str) -> Iterator[str]:
        """Yield requests `event`, whose data have the items as `key`, and `common`. If too large, one is split."""
        if not items:
            return
        ref, middle = next(self._numbers), len(items) // 2
        text = msgspec.json.encode({"event": event, "ref": ref, "data": {**common, key: items}})
        if middle and len(text) > self._max_message:
            yield from self._messages(event, key, items[:middle], **common)
            yield from self._messages(event, key, items[middle:], **common)
        else:
            self._asked[ref] = [item["sub"] for item in items]
            yield text.decode()

    def receive(self, frame: Frame, size: int, now: float) -> None:
        """Pass on a frame with `size` characters of text. Raises UnreachableError if it is not one of jobws.v1."""
        try:
            match frame.event:
                case "ack" if frame.ref in self._asked:
                    ack = msgspec.convert(frame.data, AckData)
                    for sub, result in zip(self._asked.pop(frame.ref), ack.results, strict=True):
                        self._answered(sub, ack.after, result, now)
                    for subscription in [each for evicted in ack.evicted for each in self._acked(evicted.sub)]:
                        self._places.enqueue(subscription)
                case "error" | "ended" if frame.ref in self._asked or frame.sub is not None:
                    refused = Result(error=msgspec.convert(frame.data, ItemError))
                    for sub in self._asked.pop(frame.ref, [frame.sub]):
                        self._answered(sub, {}, refused, now)
                case "pong":
                    reached = msgspec.convert(frame.data, PongData).after
                    for subscription in self._acked(None):
                        subscription.advance(reached)
                case event if isinstance(frame.data, dict) and (frame.sub is not None or event == "gap"):
                    told = Event(event, frame.data, frame.id, frame.replayed, frame.parent)
                    for subscription in self._acked(frame.sub):
                        (subscription.report_gap if event == "gap" else subscription.receive)(told, size)
                        self._free_places(subscription, tell=False)
        except (msgspec.ValidationError, ValueError) as error:
            raise not_ours(error) from None

    def _acked(self, sub: object) -> list[Subscription]:
        """Return the subscription named `sub`, or all for None: only acknowledged ones that have not ended."""
        taken = self._places.taken
        found = taken.values() if sub is None else [taken[sub]] if sub in taken else []
        return [each for each in found if each.acked]

    def _answered(self, sub: object, common: Cursor, result: Result, now: float) -> None:
        subscription, error = self._places.taken.get(sub), result.error
        if subscription is None:  # it was removed meanwhile
            return
        if error is None:
            subscription.acknowledge(common, result)
        elif error.code in _TEMPORARY:
            self._places.enqueue(subscription, now + AGAIN_SECONDS + self._chance())
        else:
            subscription.end(ResponseError(error.code, f"{subscription.room.name}: {error.message}"))
        self._free_places(subscription, tell=error is None)

    def _free_places(self, subscription: Subscription, *, tell: bool) -> None:
        """Free an ended subscription's place; `tell` as in `Places.remove`. If its watch is full, `leave` it."""
        watch = subscription.watch
        if subscription not in watch.open:
            self._places.remove(subscription, tell=tell)
        if watch.backlog > BACKLOG_BYTES and not watch.full:
            self.leave(watch)
            watch.full = True
