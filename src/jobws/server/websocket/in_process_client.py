"""A client inside this process, with which an HTTP request waits for a job or follows events, as a WebSocket does.

The hub treats it like the client of a WebSocket: its outbox has the same limit, and `Bridge.close_all` closes it, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import msgspec

from jobws.access.asked import AskedRights
from jobws.access.sights import sight_of
from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.pending import PendingSubscription
from jobws.server.judging import latest_identity
from jobws.server.websocket.clients import SLOW, ConnectedClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive

    from jobws.access.identity import Identity
    from jobws.protocol.codec import Frame
    from jobws.server.websocket.clients import Clients

_PING: Final = '{"event":"ping"}'


class InProcessClient(ConnectedClient[JobClient, PendingSubscription]):
    """A client of the hub without a WebSocket. It is a context manager; leaving it ends the client.

    Args:
        clients: The clients of `/ws`, which count this client.
        on_overflow: Called when a frame did not fit into the outbox, after which nothing can follow. It must not wait.
            None means that nothing is called; `wait` returns in any case.
        identity: Who sent the HTTP request.

    Attributes:
        hub_client: The hub's side of the client.
    """

    def __init__(
        self,
        clients: Clients[JobClient, PendingSubscription],
        on_overflow: Callable[[], None] | None,
        identity: Identity,
    ) -> None:
        self._woken = anyio.Event()
        self._on_overflow = on_overflow
        self._rights: AskedRights | None = None
        if isinstance(identity.rights, AskedRights):
            # A copy, since the HTTP request itself goes on to be served with the answers that it was judged by.
            self._rights = identity.rights.copy()
            self._rights.in_use = True
            identity = replace(identity, rights=self._rights)
        self._identity = identity
        self._sight = sight_of(identity)
        super().__init__(clients, self._sight, self._wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lost()

    def latest_identity(self) -> Identity:
        """Return who sent the HTTP request, with what an authorizer said of it last."""
        return latest_identity(self._identity)

    def greet(self) -> None:
        """Append the frame `hello` to the outbox, as for a WebSocket."""
        self.hub_client.outbox.append(self._clients.greeting.frame(self._sight))
        self.hub_client.outbox.flush()

    async def subscribe(self, data: dict[str, Any], request: str = "subscribe-job") -> None:
        """Take a request to subscribe with `data`. The answer comes as a frame, as for other clients."""
        await self.serve_in_steps(msgspec.json.encode({"event": request, "data": data}).decode())

    def asked(self) -> None:
        """Note that this client gets no more requests to subscribe.

        From now on, answers of an authorizer that none of its subscriptions needs are dropped.
        """
        if self._rights is not None:
            self._rights.in_use = False
            self._rights.due = min(self._rights.due, anyio.current_time())

    def ping(self) -> None:
        """Have a `pong` appended to the outbox, with the positions that all frames before it have reached."""
        self.serve(_PING)

    async def wait(self) -> None:
        """Wait until the hub has woken this client since the last `take`.

        Then there are frames to take, the client is to be closed, or no more past events are coming.
        """
        await self._woken.wait()

    def take(self) -> list[Frame]:
        """Take all frames from the outbox. They count as waiting until `written` is called."""
        self._woken = anyio.Event()
        return self.hub_client.outbox.take()

    def written(self) -> None:
        """Report that the frames that were taken have been written, so that more may come."""
        self.hub_client.outbox.written()

    def _wake(self) -> None:
        self._woken.set()
        if self.hub_client.outbox.overflowed and self.hub_client.closing is None:
            self.hub_client.close(SLOW)
            if self._on_overflow is not None:
                self._on_overflow()


async def cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """Cancel `scope` when the HTTP client disconnects. Drop everything else that the client sends."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
