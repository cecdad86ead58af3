"""Makes `hello`, the first frame that every client gets, and the keys of it that a new token may change."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import UNSET

from jobws.access.identity import Identity
from jobws.access.sights import sight_of
from jobws.errors import RequestError
from jobws.protocol.codec import encode
from jobws.protocol.messages import NAMED_QUEUES, PROTOCOL, AuthenticatedData, Hello, HelloData, Limits
from jobws.server.judging import judge

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobws.access.caller import Caller
    from jobws.access.sights import AnySight
    from jobws.protocol.codec import Frame
    from jobws.server.settings import Settings

SERVER: Final = f"jobws/{version('jobws')}"


class Greeting:
    """Makes the frame `hello`, which describes the bridge to a client.

    Args:
        settings: The limits.
        labels: The labels of the queues that the bridge serves. The collection changes while the bridge runs.
        without_events: The labels of queues whose event stream is switched off. It changes, too.
    """

    def __init__(self, settings: Settings, labels: Collection[str], without_events: Collection[str]) -> None:
        self._settings = settings
        self._labels = labels
        self._without_events = without_events

    async def judged(self, caller: Caller) -> Caller:
        """Have the authorizer asked which queues `hello` may name. Return the caller with its answers.

        Without an authorizer, the caller is returned unchanged. If the authorizer cannot be asked, the caller is
        unchanged, too, and so `hello` names no queue.
        """
        if not isinstance(caller, Identity):
            return caller
        try:
            return await judge(caller, lambda identity: self.examine(sight_of(identity)))
        except RequestError:
            return caller

    def examine(self, sight: AnySight) -> None:
        """Ask `sight` for every right that `hello` depends on, and ignore the answers; see `Client.examine`."""
        sight.queues(self._labels)

    def frame(self, sight: AnySight) -> Frame:
        """Return the frame `hello` with the present state of the bridge, as far as the client may see it."""
        queues = self._queues(sight)
        return encode(
            Hello(self._data(queues=queues.named, without_events=queues.silent or UNSET, queue_count=queues.total))
        )

    def frame_before_token(self) -> Frame:
        """Return the frame `hello` for a client that must send a token first."""
        return encode(Hello(self._data(queues=(), queue_count=0, auth=True)))

    def renewal(self, sight: AnySight, expires_ms: int | None) -> AuthenticatedData:
        """Return the keys of `hello` that a client gets when its new token is accepted.

        `expires_ms` is when the token expires, in epoch milliseconds; None for never.
        """
        queues = self._queues(sight)
        return AuthenticatedData("authenticate", expires_ms, queues.named, queues.total, queues.silent or UNSET)

    def _data(self, **others: Any) -> HelloData:
        settings = self._settings
        limits = Limits(settings.max_message_bytes, settings.max_frame_bytes, settings.max_subscriptions)
        return HelloData(PROTOCOL, SERVER, settings.ping_seconds, limits, **others)

    def _queues(self, sight: AnySight) -> _Queues:
        labels = sight.queues(self._labels)
        named = tuple(islice(labels, NAMED_QUEUES))
        return _Queues(named, tuple(label for label in named if label in self._without_events), len(labels))


class _Queues(NamedTuple):
    """The queues that a client may see, in the order in which the bridge began to serve them.

    Attributes:
        named: The labels of the first `NAMED_QUEUES` of them.
        silent: Those of `named` whose event stream is switched off.
        total: How many queues the client may see.
    """

    named: tuple[str, ...]
    silent: tuple[str, ...]
    total: int
