"""The positions that one client is told: of the queues that concern it, since ten thousand it could not send back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.protocol.identifiers import START, lower, position

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from jobws.protocol.messages import Cursor


class Positions:
    """What a client was told of how far its queues were sent.

    Args:
        verified: See `Fanout.verified`.
        queues: The labels that exist; a live view.
    """

    __slots__ = ("_named", "_queues", "_verified")

    def __init__(self, verified: Mapping[str, str], queues: Collection[str]) -> None:
        self._verified = verified
        self._queues = queues
        # What acks and gaps have named and no `pong` has passed yet: until then the client knows that more follows.
        self._named: Cursor = {}

    def ack(self, begins: Mapping[str, str], heard: Collection[str]) -> Cursor:
        """The cursor of an ack: where each queue begins, if it is heard by the subscriptions that are acknowledged.

        In no other queue is anything of them before the ack, so a client that comes back may read those from the start.
        """
        cursor = {queue: begin for queue, begin in begins.items() if queue in heard}
        for queue, begin in cursor.items():
            self.name(queue, begin)
        return cursor

    def name(self, queue: str, stream_id: str) -> None:
        """The client is told that position by an ack or a gap."""
        self._named[queue] = max(stream_id, self._named.get(queue, START), key=position)

    def pong(self, heard: Collection[str], unknown: Collection[str], limits: Mapping[str, str]) -> Cursor:
        """The cursor of a `pong`.

        Args:
            heard: The queues that the client's subscriptions name, and those that have, or had, their jobs.
            unknown: The queues whose position cannot be told now.
            limits: By queue, up to where everything was sent at most: the rest still waits.
        """
        cursor: Cursor = {}
        for queue in {*heard, *self._named}.difference(unknown):
            if queue in self._verified:
                verified = self._verified[queue]
                cursor[queue] = lower(limits.get(queue, verified), verified)
            elif queue not in self._queues:  # not there yet, or no longer
                cursor[queue] = self._named.get(queue, START)
        for queue, end in cursor.items():
            if queue in self._named and queue not in limits and position(end) >= position(self._named[queue]):
                del self._named[queue]
        return cursor
