"""A WebSocket to the bridge, on trio-websocket. A task fetches each message as soon as trio-websocket has it.

trio-websocket answers pings in the task that also delivers messages. While a message is not fetched, it answers no
pings, and leaving its context then leaks a bare `trio.Cancelled` (its issue 184). Our task avoids both. The messages
then wait, without a limit, for `Transport.receive`, so `receive` must be called again and again without delay. The
client does this, and limits what waits for its user (`BACKLOG_BYTES` in `jobs.subscriptions` and `log.feed`).
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from jobws.errors import ConnectionLostError, RefusedError, UnreachableError
from jobws.protocol.close_codes import may_return

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

CONNECT_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
# After the end of a connection, trio-websocket has this time to read the handshake's answer that came before the end.
TAKE_SECONDS: Final = 0.05
# The limit for all frames. It must be set before `hello` comes, which says how large frames can be.
FIRST_MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
EMPTY: Final[Mapping[str, str]] = MappingProxyType({})

_Stream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"


class Transport:
    """An open WebSocket that sends and receives text messages."""

    def __init__(
        self, connection: trio_websocket.WebSocketConnection, received: trio.MemoryReceiveChannel[str]
    ) -> None:
        self._connection = connection
        self._received = received

    async def send(self, text: str) -> None:
        """Send one message.

        Raises:
            ConnectionLostError: The connection has ended.
            RefusedError: The connection has ended with a close code that means "stay away".
        """
        try:
            await self._connection.send_message(text)
        except trio_websocket.ConnectionClosed:
            raise self._end() from None

    async def receive(self) -> str:
        """Wait for the next message, and return it. Cancelling loses no message.

        Raises:
            ConnectionLostError: The connection has ended, and all messages before its end were received.
            RefusedError: The same, with a close code that means "stay away".
        """
        try:
            return await self._received.receive()
        except trio.EndOfChannel:
            raise self._end() from None

    def _end(self) -> ConnectionLostError | RefusedError:
        closed = self._connection.closed
        code, reason = (closed.code, closed.reason or "") if closed is not None else (1006, "")
        if may_return(code):
            return ConnectionLostError(code, reason)
        return RefusedError(f"the bridge ended the connection: {code} {reason}".rstrip())


@asynccontextmanager
async def open_websocket(
    url: str, subprotocols: Sequence[str] = (), headers: Mapping[str, str] = EMPTY
) -> AsyncIterator[Transport]:
    """Connect to `url`, a ws or wss URL with the WebSocket's path. The end of the context closes the connection.

    An exception in the context is raised as it is, never in an exception group.

    Raises:
        UnreachableError: No bridge at this URL speaks jobws.v1.
        RefusedError: The bridge refused the handshake; the message contains its reason.
    """
    # An exception raised inside the nursery would leave it in a group, so it is raised after the nursery.
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                stream = await _open_stream(url)
                try:
                    connection = await _shake_hands(nursery, stream, url, subprotocols, headers)
                    send, receive = trio.open_memory_channel[str](math.inf)
                    nursery.start_soon(_receive_all, connection, send)
                    yield Transport(connection, receive)
                    with trio.move_on_after(CLOSE_SECONDS):
                        await connection.aclose()
                finally:
                    # The library does not close the socket after a refusal, or when the peer closed first.
                    await trio.aclose_forcefully(stream)
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as refusals:
        # The library's reader raises this exception in its own task.
        failure = _refusal(refusals.exceptions[0], url)
    except* LocalProtocolError:
        pass  # the library's reader tries to answer a ping that came after the close frame of `aclose`
    if failure is not None:
        raise failure


def _refusal(error: BaseException, url: str) -> Exception:
    """Return the exception that reports a failed handshake. If the bridge gave a reason, the message contains it."""
    if not isinstance(error, trio_websocket.ConnectionRejected):
        return UnreachableError(f"no bridge at {url}: {str(error) or 'what answers is no bridge'}")
    sentence = (error.body or b"").decode(errors="replace").strip()
    if error.status_code == 403 and sentence:
        return RefusedError(f"the bridge at {url} refuses: {sentence}")
    return UnreachableError(f"no bridge at {url}: {sentence or f'status {error.status_code}'}")


async def _open_stream(url: str) -> _Stream:
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "wss"
    try:
        with trio.fail_after(CONNECT_SECONDS):
            if tls:
                return await trio.open_ssl_over_tcp_stream(host, parts.port or 443)
            return await trio.open_tcp_stream(host, parts.port or 80)
    except (OSError, trio.TooSlowError) as error:
        raise UnreachableError(f"no bridge at {url}: {str(error) or 'no answer'}") from None


async def _shake_hands(
    nursery: trio.Nursery, stream: _Stream, url: str, subprotocols: Sequence[str], headers: Mapping[str, str]
) -> trio_websocket.WebSocketConnection:
    parts = urlsplit(url)
    ending = _EndNotingStream(stream)
    nursery.start_soon(ending.give_up)
    try:
        with trio.fail_after(CONNECT_SECONDS), ending.scope:
            return await trio_websocket.wrap_client_stream(
                nursery,
                ending,  # type: ignore[arg-type] # it uses only methods that every stream has
                parts.netloc.rpartition("@")[2],
                f"{parts.path}?{parts.query}" if parts.query else parts.path,
                subprotocols=list(subprotocols),
                extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                max_message_size=FIRST_MAX_MESSAGE_BYTES,
            )
    except (OSError, trio.BrokenResourceError, trio_websocket.HandshakeError, trio.TooSlowError) as error:
        raise _refusal(error, url) from None
    raise UnreachableError(f"no bridge at {url}: the connection ended before the handshake was answered")


class _EndNotingStream(trio.abc.Stream):
    """A stream whose end ends the handshake. trio-websocket alone would wait for the answer forever."""

    def __init__(self, stream: _Stream) -> None:
        self.scope = trio.CancelScope()  # for the handshake; cancelled after the end of the stream
        self._stream = stream
        self._ended = trio.Event()

    async def give_up(self) -> None:
        """Wait for the end of the stream, then for `TAKE_SECONDS`. Then cancel the handshake, if it still runs."""
        await self._ended.wait()
        await trio.sleep(TAKE_SECONDS)
        self.scope.cancel()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive bytes, and note the end of the stream. See trio.abc.ReceiveStream."""
        data = b""
        try:
            data = bytes(await self._stream.receive_some(max_bytes))
        finally:
            if not data:  # the stream has ended, or broke
                self._ended.set()
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes. See trio.abc.SendStream."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending may be possible. See trio.abc.SendStream."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream. See trio.abc.AsyncResource."""
        await self._stream.aclose()


async def _receive_all(connection: trio_websocket.WebSocketConnection, send: trio.MemorySendChannel[str]) -> None:
    with send:
        while True:
            try:
                message = await connection.get_message()
            except trio_websocket.ConnectionClosed:
                return
            if isinstance(message, str):
                send.send_nowait(message)
