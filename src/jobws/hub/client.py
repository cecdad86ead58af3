"""One client, whatever it is told about: its protocol session, its outbox, and how it ends.

`/ws` and `/logs` differ in what may be asked; how a message is taken, answered, refused and punished is the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from jobws.hub.outbox import Outbox
from jobws.protocol.codec import Frame
from jobws.protocol.session import Close, Conversation, error_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.protocol.messages import ItemError, Ref


SEARCH_SIZE: Final = 240
"""What a search for a queue counts: a client has four a second at most, at 50 messages of 20 things each."""


class Counted(Protocol):
    """What a request needs of Redis before it can be answered."""

    @property
    def size(self) -> int:
        """How many things are looked up, or what costs as much."""
        ...


Asked = TypeVar("Asked")
Sought = TypeVar("Sought", bound=Counted)


class Client(ABC, Generic[Asked, Sought]):
    """One client.

    Args:
        session: Its protocol state.
        outbox_bytes: How much may wait for it.
        wake: Told when frames wait or the connection is to close; must not wait.

    Attributes:
        outbox: Every frame to the client goes through it, answers too, so that their order is one.
        closing: Why the connection is to end, once it is.
    """

    __slots__ = ("closing", "outbox", "session")

    def __init__(self, session: Conversation[Asked], outbox_bytes: int, wake: Callable[[], None]) -> None:
        self.session = session
        self.outbox = Outbox(outbox_bytes, wake)
        self.closing: Close | None = None

    def receive(self, message: str | bytes, now: float) -> Sought | None:
        """Take one message of the client and answer it, or return what has to be looked up before it can be."""
        if self.closing is not None:
            return None
        request = self.session.receive(message, now)
        sought: Sought | None = None
        if isinstance(request, Frame):
            self.outbox.append(request)
        elif isinstance(request, Close):
            self.close(request)
        else:
            sought = self._serve(request)
        if sought is None:
            self.outbox.flush()
        return sought

    @abstractmethod
    def _serve(self, request: Asked) -> Sought | None:
        """Answer a valid request, or return what has to be looked up before."""

    def close(self, why: Close) -> None:
        """End the connection: what waits still goes out, nothing else is taken in. The first reason stands."""
        if self.closing is None:
            if why.answer is not None:
                self.outbox.append(why.answer)
            self.closing = why
            self.leave_all()
            self.outbox.wake()

    @abstractmethod
    def leave_all(self) -> None:
        """End every subscription: the client is gone."""

    def refuse(self, error: ItemError, request: str, ref: Ref | None) -> None:
        """Answer with an error that is not the client's fault, and so does not count as abuse."""
        self.outbox.append(error_frame(error.code, error.message, request, ref))
