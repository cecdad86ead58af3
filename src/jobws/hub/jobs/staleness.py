"""Knows in which queues events were forgotten, or lost in a hole, since jobs were looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.protocol.identifiers import START, later

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from jobws.hub.jobs.history import History
    from jobws.hub.jobs.queue_history import KnownStream
    from jobws.protocol.messages import Cursor


class Staleness:
    """The queues that became stale since a look-up: the history may lack events from after the look-up.

    Args:
        history: The history of every queue.
        labels: The labels of all queues that exist; a live view.
        known: By label, the history of the queue at the look-up, and the stream id up to which its events were
            published then. The caller adds to this mapping what it passes to `note`.
    """

    __slots__ = ("_all", "_changes", "_history", "_is_stale", "_known", "_labels", "_needed")

    def __init__(self, history: History, labels: Collection[str], known: Mapping[str, KnownStream]) -> None:
        self._history = history
        self._labels = labels
        self._known = known
        # By queue, the stream id after which the history must have every event. If it has not, the queue is stale.
        self._needed: Cursor = {}
        # Whether a queue is stale, the list of all stale queues, and the value of `changes` for which both are valid.
        self._is_stale: dict[str, bool] = {}
        self._all: list[str] | None = None
        self._changes = history.changes

    def note(self, queue: str, known: KnownStream) -> None:
        """Note what is known of a queue's stream immediately before jobs are read from Redis."""
        self._needed[queue] = later(known.cursor, known.history.floor or START)

    @property
    def queues(self) -> Collection[str]:
        """All stale queues."""
        self._renew()
        if self._all is None:
            self._all = [queue for queue in self._labels if self.of(queue)]
        return self._all

    def of(self, queue: str) -> bool:
        """Whether the history may lack events of the queue from after the look-up.

        They were forgotten, or lost in a hole, or came before the bridge found the queue.
        """
        self._renew()
        is_stale = self._is_stale.get(queue)
        if is_stale is None:
            known = self._known[queue].history if queue in self._known else self._history.of(queue)
            is_whole = known.has_all_after(self._needed.get(queue, START))
            is_stale = self._is_stale[queue] = not (is_whole and self._history.is_current(queue, known))
        return is_stale

    def _renew(self) -> None:
        if self._changes != self._history.changes:
            self._changes = self._history.changes
            self._is_stale, self._all = {}, None
