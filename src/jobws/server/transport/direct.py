"""The ASGI extension `jobws.direct`: ready-made frames to the socket without a task, and messages without a queue.

`scope["extensions"]["jobws.direct"]` of a WebSocket is a `Direct` under `jobws serve`. It is absent under other servers
and in tests without one, where the app sends and receives through ASGI: the same behaviour, slower.

An app that wants it accepts as usual, calls `attach` and returns. From then on the connection is the handler's, and
what the handshake needed is freed. What a transport promises: the bytes of a connection leave in the order of the
calls, whole frame after whole frame, its own pings, pongs and close frames between them; nothing follows a close frame;
`lost` is called exactly once, whatever happens; nothing here blocks, and nothing raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

EXTENSION: Final = "jobws.direct"


class Handler(Protocol):
    """The app's side of one connection. Every call is synchronous and must not wait."""

    def received(self, message: str | bytes) -> float:
        """Take a text or binary message; the seconds to wait before the next one is read."""
        ...

    def writable(self) -> None:
        """Everything that was written has left."""
        ...

    def stalled(self) -> None:
        """The client takes next to nothing, though something waits for it."""
        ...

    def lost(self) -> None:
        """The connection is over."""
        ...


class Direct(Protocol):
    """What the transport offers to an app that takes a WebSocket over."""

    @property
    def deflate(self) -> bool:
        """Whether the client takes compressed frames, without a context kept between them."""
        ...

    def attach(self, handler: Handler) -> None:
        """Hand the accepted connection over to `handler`."""
        ...

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Send whole frames, each in one piece or two (see `codec.Frame.wire`).

        False: not all of it has left; `writable` will be called, unless the end comes first.
        """
        ...

    def close(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Send a close frame after what was written, or with `drop` in place of the frames that have not begun.

        The first call counts. The client gets some seconds to answer; then the connection is cut.
        """
        ...
