"""One client of `/logs` in the hub. It has at most one subscription that was answered, and one that was not yet."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, assert_never

from msgspec import UNSET

from jobws.errors import RequestError
from jobws.hub.client import Client
from jobws.hub.log.subscription import LogSubscription
from jobws.protocol.codec import encode
from jobws.protocol.echo import echoed
from jobws.protocol.log.answers import LogAck, LogAckData, LogPong, LogPongData
from jobws.protocol.log.requests import LogRequest, SubscribeLogs, UnsubscribeLogs
from jobws.protocol.messages import ItemError, Ref
from jobws.protocol.request_types import Ping
from jobws.protocol.requests import FORBIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from jobws.hub.log.broadcaster import LogHub
    from jobws.protocol.log.requests import LogSession
    from jobws.protocol.request_types import Sight
    from jobws.redis.log_stream import LogCursor

SUBSCRIBE: Final = "subscribe-logs"
REPLACED: Final = ItemError("unsubscribed", "the subscription was left or replaced before it was answered")


class LogClient(Client[LogRequest, LogSubscription]):
    """One client of `/logs`.

    Args:
        session: The client's protocol state.
        hub: Where lines come from.
        outbox_bytes: How many bytes may wait for the client.
        wake: Called when frames wait or the connection is to close. It must not wait.
    """

    __slots__ = ("_current", "_hub", "_pending", "_session")

    def __init__(self, session: LogSession, hub: LogHub, outbox_bytes: int, wake: Callable[[], None]) -> None:
        super().__init__(session, outbox_bytes, wake)
        self._session = session
        self._hub = hub
        self._current: LogSubscription | None = None
        self._pending: LogSubscription | None = None

    def _serve(self, request: LogRequest) -> Generator[None, None, LogSubscription | None]:
        yield from ()  # every request is one step
        match request:
            case Ping():
                after = None
                if self._current is not None:
                    self._current.append_dropped()
                    after = self._current.reached
                self.outbox.append(encode(LogPong(LogPongData(after), echoed(request.ref))))
            case UnsubscribeLogs():
                self._give_up_pending()
                left = self._leave_current()
                self._acknowledge(LogAckData("unsubscribe-logs", left=left), request.ref)
            case SubscribeLogs():
                self._give_up_pending()
                self._pending = LogSubscription(self, request, self._hub)
                return self._pending
            case _:
                assert_never(request)
        return None

    def end_all(self) -> None:
        """End both subscriptions. Frames in the outbox can still be sent; see `Client.end_all`."""
        if self._pending is not None:
            self._end(self._pending)
            self._pending = None
        self._leave_current()
        self.outbox.abandon()

    def complete(self, subscription: LogSubscription, cursor: LogCursor, end: str, *, gap: bool) -> None:
        """Answer a subscription, and end the previous one, which it replaces.

        Args:
            subscription: The subscription. If it is no longer pending, nothing happens.
            cursor: The cursor after which its lines begin.
            end: Lines up to this id are sent as replayed. It is `0-0` if the stream has had no line yet.
            gap: Whether lines before `cursor` may be missing.
        """
        if subscription is not self._pending:
            return
        self._pending = None
        self._leave_current()
        self._current = subscription
        subscription.cursor, subscription.end = cursor, end
        self._acknowledge(LogAckData(SUBSCRIBE, after=cursor.id, gap=gap or UNSET), subscription.request.ref)
        self.outbox.flush()

    def fail(self, subscription: LogSubscription, error: ItemError) -> None:
        """Refuse a pending subscription. The subscription that was answered before stays.

        If `subscription` is no longer pending, nothing happens.
        """
        if subscription is self._pending:
            self._pending = None
            self._end(subscription)
            self.refuse(error, SUBSCRIBE, subscription.request.ref)
            self.outbox.flush()

    def examine(self, sight: Sight) -> None:
        """Ask `sight` for every right that the subscriptions need, and ignore the answers; see `Client.examine`."""
        with self._session.seeing(sight):
            for subscription in (self._pending, self._current):
                if subscription is not None:
                    with suppress(RequestError):
                        self._session.readable(subscription.request.asked)

    def _apply_rights(self) -> None:
        for subscription in (self._pending, self._current):
            if subscription is not None and not subscription.limit(self._session):
                if subscription is self._pending:
                    self.fail(subscription, FORBIDDEN)
                else:
                    self._leave_current()
                    self._tell_end(None)

    def _give_up_pending(self) -> None:
        if self._pending is not None:
            self.fail(self._pending, REPLACED)

    def _leave_current(self) -> bool:
        subscription, self._current = self._current, None
        if subscription is None:
            return False
        subscription.append_dropped()
        self._end(subscription)
        return True

    def _end(self, subscription: LogSubscription) -> None:
        subscription.ended = True
        self._hub.leave(subscription)
        if subscription.on_end is not None:
            subscription.on_end()

    def _acknowledge(self, data: LogAckData, ref: Ref | None) -> None:
        self.outbox.append(encode(LogAck(data, echoed(ref))))
