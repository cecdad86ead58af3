"""The base class of the clients of `/ws` and `/logs`: a protocol session, an outbox, and the end of the connection.

The two endpoints serve different requests. They receive, answer and refuse messages in the same way, and close clients
for the same abuse.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from msgspec import UNSET

from jobws.hub.outbox import Outbox
from jobws.protocol.codec import Frame, encode
from jobws.protocol.echo import echoed, named
from jobws.protocol.messages import Authenticated, EndedData, Expiring, ExpiringData, ItemError, SubscriptionEnded
from jobws.protocol.request_types import Authenticate
from jobws.protocol.requests import EVERY_QUEUE, FORBIDDEN
from jobws.protocol.session import BaseSession, Close, Standing, error_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable

    from jobws.errors import RequestError
    from jobws.protocol.messages import AuthenticatedData, Ref
    from jobws.protocol.request_types import Sight, SubscriptionKey


SEARCH_SIZE: Final = 240
"""How much one search for an unknown queue adds to `Pending.size`.

A search costs a client as much as about 50 messages. By default a client may send 200 messages a second, so it gets
four searches a second.
"""


class Pending(Protocol):
    """A request to subscribe that is not answered yet, since something is looked up in Redis for it."""

    @property
    def size(self) -> int:
        """The cost of the look-up, as a number of jobs to look up."""
        ...


RequestT = TypeVar("RequestT")
PendingT = TypeVar("PendingT", bound=Pending)


class Client(ABC, Generic[RequestT, PendingT]):
    """One client of an endpoint.

    Args:
        session: The client's protocol state.
        outbox_bytes: How many bytes may wait for the client.
        wake: Called when frames wait or the connection is to close. It must not wait.

    Attributes:
        outbox: The frames to the client. Answers and events go through the same outbox, so their order is kept.
        closing: Why the connection is to end. None while it is not to end.
        payer: For whom the limits over several connections count this client. None if it has no such limits.
        on_authenticate: Called with a request `authenticate`, which `renew` or `reject` then answers. It must not wait.
            None means that the client cannot send another token.
    """

    __slots__ = ("closing", "on_authenticate", "outbox", "payer", "session")

    def __init__(self, session: BaseSession[RequestT], outbox_bytes: int, wake: Callable[[], None]) -> None:
        self.session = session
        self.outbox = Outbox(outbox_bytes, wake)
        self.closing: Close | None = None
        self.payer: Hashable = None
        self.on_authenticate: Callable[[Authenticate], None] | None = None

    def receive(self, message: str | bytes, now: float, problem: RequestError | None = None) -> PendingT | None:
        """Take all steps of `receive_in_steps` now, and return what it returns."""
        steps = self.receive_in_steps(message, now, problem)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                pending: PendingT | None = end.value
                return pending

    def receive_in_steps(
        self, message: str | bytes, now: float, problem: RequestError | None = None
    ) -> Generator[None, None, PendingT | None]:
        """Answer one message of the client, or return a request that needs a look-up in Redis before it is answered.

        This is a generator of short steps, since a message may have a list of a thousand jobs. The caller takes all
        steps before it passes on the next message of this client.

        Args:
            message: The message: `str` of a text frame, `bytes` of a binary frame.
            now: Seconds on a clock that never goes back.
            problem: Why a request to subscribe cannot be served now. None means that it can.

        Returns:
            The request. The caller looks up what the request needs, and then calls `complete` or `fail` of the subclass
            to answer it. None means that there is nothing to look up: the message was answered or refused, or ignored
            since the connection is closing.
        """
        if self.closing is not None:
            return None
        request = self.session.receive(message, now, problem)
        pending: PendingT | None = None
        if isinstance(request, Frame):
            self.outbox.append(request)
        elif isinstance(request, Close):
            self.close(request)
        elif isinstance(request, Authenticate):
            self._authenticate(request, now)
        else:
            pending = yield from self._serve(request)
        if pending is None:
            self.outbox.flush()
        return pending

    @abstractmethod
    def _serve(self, request: RequestT) -> Generator[None, None, PendingT | None]:
        """Answer a valid request, or return it for a look-up; see `receive_in_steps`. The caller flushes the outbox."""

    def charge_to(self, payer: Hashable) -> None:
        """Count the client, with the subscriptions that it has, for `payer` from now on.

        None means that no limit over several connections applies to it.
        """
        self.payer = payer

    # ---- tokens ----

    def _authenticate(self, request: Authenticate, now: float) -> None:
        if self.on_authenticate is None:
            self.reject(request, ItemError("unknown-event", "over HTTP the token comes in a header"), now)
        else:
            self.on_authenticate(request)

    def take_rights(self, sight: Sight) -> None:
        """Replace the client's rights by those of a valid token, and apply them to its subscriptions.

        The client gets `ended` for each answered subscription that it may no longer have. The caller flushes.
        """
        self.session.sight = sight
        self.session.standing = Standing.VALID
        self._apply_rights()

    def reapply(self, sight: Sight) -> None:
        """Apply rights that have changed while the token stayed the same, and flush the outbox.

        The client gets `ended` for the same subscriptions as in `take_rights`. If the connection is closing, nothing
        happens.
        """
        if self.closing is None:
            self.session.sight = sight
            self._apply_rights()
            self.outbox.flush()

    @abstractmethod
    def examine(self, sight: Sight) -> None:
        """Ask `sight` for every right that the present subscriptions need, and ignore the answers.

        An `AskedSight` notes what it is asked. So its maker learns which checks an authorizer must decide.
        """

    @abstractmethod
    def _apply_rights(self) -> None:
        """Apply the rights `session.sight` to the subscriptions.

        Those that the client may no longer have are ended, or refused if they are not answered yet. The others are
        limited to what the client may read.
        """

    def renew(self, sight: Sight, request: Authenticate, data: AuthenticatedData) -> None:
        """Accept the token of the request `authenticate`. Its rights replace those of the token before.

        The ack, with `data`, comes after the frames that tell the client which subscriptions have ended. If the
        connection is closing, nothing happens.
        """
        if self.closing is None:
            self.take_rights(sight)
            self.outbox.append(encode(Authenticated(data, echoed(request.ref))))
            self.outbox.flush()

    def reject(self, request: Authenticate, error: ItemError, now: float) -> None:
        """Refuse the token of the request `authenticate`. The rights stay as they are.

        Too many refusals end the connection. `now` is in seconds on a clock that never goes back.
        """
        if self.closing is None:
            answer = self.session.refuse(error.code, error.message, "authenticate", request.ref, now)
            if isinstance(answer, Close):
                self.close(answer)
            else:
                self.outbox.append(answer)
                self.outbox.flush()

    def warn(self, expires_ms: int) -> None:
        """Warn the client with `expiring` that its token expires soon: at `expires_ms`, in milliseconds since 1970."""
        if self.closing is None:
            self.outbox.append(encode(Expiring(ExpiringData(expires_ms))))
            self.outbox.flush()

    def _tell_end(self, key: SubscriptionKey | None, why: ItemError = FORBIDDEN) -> None:
        """Tell the client that a subscription has ended, mostly because the client has no right to it.

        `key` is None for a subscription to the log, which has no key.
        """
        queue, job_id = (UNSET, UNSET) if key is None else (key.queue or UNSET, key.job_id or UNSET)
        if key is not None and key.is_every_queue:
            queue = EVERY_QUEUE
        data = EndedData(why.code, why.message, queue, job_id)
        self.outbox.append(encode(SubscriptionEnded(sub=named(None if key is None else key.sub), data=data)))

    def close(self, why: Close) -> None:
        """Have the connection ended, and end all subscriptions.

        Frames that wait are still sent, and `why.answer` after them. Further messages are ignored. If `close` is called
        again, the first reason is kept.
        """
        if self.closing is None:
            if why.answer is not None:
                self.outbox.append(why.answer)
            self.closing = why
            self.end_all()
            self.outbox.wake()

    def leave(self) -> None:
        """End all subscriptions, because the client is gone. `wake` and `on_authenticate` are not called after that."""
        self.end_all()
        # Otherwise this object and those that these functions belong to would refer to each other. Then only the
        # garbage collector would free them, and it stops all clients meanwhile.
        self.outbox.wake = _nobody
        self.on_authenticate = None

    @abstractmethod
    def end_all(self) -> None:
        """End all subscriptions, because the client is gone or the connection is closing.

        Tasks stop waiting for room in the outbox (`Outbox.abandon`). Frames in the outbox can still be sent.
        """

    def refuse(self, error: ItemError, request: str, ref: Ref | None) -> None:
        """Answer a request with an error that does not count as abuse. The caller flushes.

        `request` is the name of the request. `ref` is the client's mark on it, or None if the client gave no mark.
        """
        self.outbox.append(error_frame(error.code, error.message, request, ref))


def _nobody() -> None:
    """Wake nobody."""
