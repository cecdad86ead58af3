"""A connection to the hub of `/logs`, without a socket and without Redis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobws.hub.log.client import LogClient
from jobws.redis.log_stream import LogCursor, LogPage, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.log.broadcaster import LogHub
    from jobws.hub.log.subscription import LogSubscription
    from jobws.protocol.log.requests import LogSession


class Connection:
    """A client of a hub. `wake` is called when there is something to write."""

    def __init__(self, hub: LogHub, session: LogSession, outbox_bytes: int, wake: Callable[[], None]) -> None:
        self.hub = hub
        self.hub_client = LogClient(session, hub, outbox_bytes, wake)

    def ask(self, event: str, data: object = None, ref: int | None = None) -> LogSubscription | None:
        return self.hub_client.receive(json.dumps({"event": event, "data": data, "ref": ref}), 0.0)

    def begin(self, ref: int | None = None, **data: Any) -> LogSubscription:
        member = self.ask("subscribe-logs", data, ref)
        assert member is not None
        return member

    def live(self, **data: Any) -> LogSubscription:
        """Subscribe, and return a subscription that gets lines as they happen."""
        member = self.begin(**data)
        self.hub_client.complete(member, LogCursor("0-0", 0), "0-0", gap=False)
        assert self.hub.join(member, LogPage(State(), [], full=False), 0)
        self.frames()
        return member

    def frames(self) -> list[dict[str, Any]]:
        frames = [json.loads(frame.payload) for frame in self.hub_client.outbox.take()]
        self.hub_client.outbox.written()
        return frames
