"""Makes `hello`, the first frame that every client gets."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from jobws.protocol.codec import encode
from jobws.protocol.messages import NAMED_QUEUES, PROTOCOL, Hello, HelloData, Limits

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobws.protocol.codec import Frame
    from jobws.server.settings import Settings

SERVER: Final = f"jobws/{version('jobws')}"


class Greeting:
    """Makes the frame `hello`, which describes the bridge.

    Args:
        settings: The limits.
        labels: The labels of the known queues. The collection changes while the bridge runs.
        without_events: The labels of queues whose workers write no events. It changes, too.
    """

    def __init__(self, settings: Settings, labels: Collection[str], without_events: Collection[str]) -> None:
        self._settings = settings
        self._labels = labels
        self._without_events = without_events

    def frame(self) -> Frame:
        """Return the frame `hello` with the present state of the bridge."""
        settings = self._settings
        limits = Limits(settings.max_message_bytes, settings.max_frame_bytes, settings.max_subscriptions)
        named = tuple(islice(self._labels, NAMED_QUEUES))
        silent = tuple(label for label in named if label in self._without_events)
        count = len(self._labels)
        return encode(Hello(HelloData(PROTOCOL, SERVER, settings.ping_seconds, limits, named, silent or UNSET, count)))
