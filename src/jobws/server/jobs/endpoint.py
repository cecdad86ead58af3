"""The endpoint `/ws`: makes its clients, and has their subscriptions looked up."""

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
    """The endpoint `/ws`.

    Args:
        settings: The limits.
        greeting: Makes the first frame.
        fanout: Where events pass.
        queues: The queues that are read.
        subscribing: Looks up the jobs of subscriptions and has the subscriptions answered.
        reading_back: Delivers what clients missed.
        tasks: The tasks of the bridge.
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
        """Make the hub's side of a client of `/ws`; see `Endpoint.connect`."""
        settings = self._settings
        session = Session(self._queues.nameable, settings.max_message_bytes, settings.max_subscriptions)
        limits = settings.max_subscriptions, settings.outbox_bytes
        return JobClient(session, self._fanout, self._queues.by_label, *limits, wake, self._reading_back.start)

    def look_up(self, client: JobClient, pending: PendingSubscription) -> None:
        """Have a request to subscribe answered; see `Endpoint.look_up`.

        Does nothing while the bridge stops, since the client is being closed.
        """
        if self._tasks.are_running:
            self._subscribing.add(client, pending)

    def hello(self) -> Frame:
        """Return the first frame of a connection."""
        return self._greeting.frame()
