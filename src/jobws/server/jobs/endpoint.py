"""The endpoint `/ws`: how a client of it is made, and what a subscription needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.hub.jobs.client import JobClient
from jobws.hub.jobs.pending_subscription import PendingSubscription
from jobws.protocol.session import Session
from jobws.server.websocket.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.jobs.fanout import Fanout
    from jobws.protocol.codec import Frame
    from jobws.server.jobs.queue_readers import Queues
    from jobws.server.jobs.reading_back import ReadingBack
    from jobws.server.jobs.subscribe import Subscribing
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks
    from jobws.server.websocket.hello import Greeting


class JobEndpoint(Endpoint[JobClient, PendingSubscription]):
    """What `/ws` serves.

    Args:
        settings: The limits.
        greeting: Makes the first frame.
        fanout: Where events pass.
        queues: Which queues there are.
        subscribing: Brings subscriptions to their answers.
        reading_back: Gives clients what they missed.
        tasks: Those of the bridge, which exist while it runs.
    """

    def __init__(
        self,
        settings: Settings,
        greeting: Greeting,
        fanout: Fanout,
        queues: Queues,
        subscribing: Subscribing,
        reading_back: ReadingBack,
        tasks: Tasks,
    ) -> None:
        self._settings = settings
        self._greeting = greeting
        self._fanout = fanout
        self._queues = queues
        self._subscribing = subscribing
        self._reading_back = reading_back
        self._tasks = tasks

    def connect(self, wake: Callable[[], None]) -> JobClient:
        """See `Endpoint.connect`."""
        settings = self._settings
        session = Session(self._queues.nameable, settings.max_message_bytes, settings.max_subscriptions)
        limits = settings.max_subscriptions, settings.outbox_bytes
        return JobClient(session, self._fanout, self._queues.by_label, *limits, wake, self._reading_back.start)

    def look_up(self, client: JobClient, sought: PendingSubscription) -> None:
        """See `Endpoint.look_up`. Nothing happens while the bridge stops: the client is being closed."""
        if self._tasks.are_running:
            self._subscribing.add(client, sought)

    def hello(self) -> Frame:
        """See `Endpoint.hello`."""
        return self._greeting.frame()
