"""A client inside of this process: what lets an HTTP request wait for a job as a WebSocket would.

It is one more connection of the hub, with the same limits: its outbox is bounded, and all of them are ended together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import msgspec

from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.pending_subscription import PendingSubscription
from jobws.server.websocket.endpoint import SLOW, ConnectedClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive

    from jobws.protocol.codec import Frame
    from jobws.server.websocket.endpoint import Clients

_PING: Final = '{"event":"ping"}'


class InProcessClient(ConnectedClient[JobClient, PendingSubscription]):
    """A connection of this process's own, until this context manager is left, however it is left.

    Args:
        clients: Who counts it.
        on_overflow: Called when frames did not fit into the outbox any more: nothing can follow. It must not wait.
            None: `wait` returns, and that is enough.

    Attributes:
        connection: The hub's side.
    """

    def __init__(
        self, clients: Clients[JobClient, PendingSubscription], on_overflow: Callable[[], None] | None
    ) -> None:
        self._woken = anyio.Event()
        self._on_overflow = on_overflow
        super().__init__(clients, self._wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lost()

    def greet(self) -> None:
        """Put `hello` after what waits, as on a WebSocket."""
        self.connection.outbox.append(self._clients.endpoint.hello())
        self.connection.outbox.flush()

    def subscribe(self, data: dict[str, Any]) -> None:
        """Ask as a client would with `subscribe-job`. The answer is a frame, too."""
        self.received(msgspec.json.encode({"event": "subscribe-job", "data": data}).decode())

    def ping(self) -> None:
        """Put a `pong` after what waits, which says how far everything before it was told."""
        self.received(_PING)

    async def wait(self) -> None:
        """Wait until there is something to take, or the connection is to end."""
        await self._woken.wait()

    def take(self) -> list[Frame]:
        """Take all frames that came since. They count as waiting until `written`."""
        self._woken = anyio.Event()
        return self.connection.outbox.take()

    def written(self) -> None:
        """Say that the frames that were taken are dealt with: more may come."""
        self.connection.outbox.written()

    def _wake(self) -> None:
        self._woken.set()
        if self.connection.outbox.overflowed and self.connection.closing is None:
            self.connection.close(SLOW)
            if self._on_overflow is not None:
                self._on_overflow()


async def cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel `scope` once the HTTP client has left; what else it sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
