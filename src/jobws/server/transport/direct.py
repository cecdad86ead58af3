"""The ASGI extension `jobws.direct`: the app writes encoded frames to the socket, and gets messages, by plain calls.

Under `jobws serve`, `scope["extensions"]["jobws.direct"]` of a WebSocket is a `Direct`. Other servers do not have the
extension; there the app sends and receives through ASGI, which does the same but is slower.

An app that uses the extension accepts the WebSocket as usual, calls `attach` and returns. From then on the transport
calls the handler, and the objects that the handshake needed are freed.

The transport guarantees that:
- frames leave whole and in the order of the calls, with the transport's own pings, pongs and close frames between them;
- nothing follows a close frame;
- `lost` is called exactly once, whatever happens;
- no method of `Direct` blocks or raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

EXTENSION: Final = "jobws.direct"


class Handler(Protocol):
    """The app's side of one connection. Its methods are synchronous and must not wait."""

    def received(self, message: str | bytes) -> float | Awaitable[float]:
        """Take a text or binary message. Return how many seconds to wait before the next message is read.

        If the message itself must wait, return what takes it when awaited, and then gives these seconds.
        """
        ...

    def writable(self) -> None:
        """Called when everything that was written has left."""
        ...

    def stalled(self) -> None:
        """Called when bytes have waited for `slow_seconds`, and left at less than `slow_bytes_per_second` meanwhile.

        If this stays so, it is called again after each further `slow_seconds`.
        """
        ...

    def lost(self) -> None:
        """Called when the connection has ended."""
        ...


class Direct(Protocol):
    """The transport's side of one connection, for an app that takes the WebSocket over."""

    @property
    def deflate(self) -> bool:
        """Whether compressed frames may be sent. Each must be compressed on its own, without context takeover."""
        ...

    def attach(self, handler: Handler) -> None:
        """Hand the accepted connection over to `handler`."""
        ...

    def write(self, frames: Sequence[bytes | memoryview]) -> bool:
        """Send whole frames, each in one piece or two (see `codec.Frame.wire`).

        Returns:
            Whether all bytes have left. After False, `writable` is called when they have, unless the connection ends
            first.
        """
        ...

    def close(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Send a close frame. Further calls do nothing.

        Waiting frames are sent before the close frame. With `drop`, they are dropped, but a frame that was
        partly sent is completed. If the client does not answer with a close frame within 5 s, the connection is cut.
        """
        ...
