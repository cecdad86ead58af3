"""Asks the authorizer again about the subscriptions of connected clients, and ends those that it does not allow now.

A failure of the authorizer is no answer: it is asked again for 25 s. Then the subscriptions end for which it has given
no answer that is still valid.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel

from jobws.access.asked_sight import AskedSight
from jobws.access.scope import Action
from jobws.errors import RequestError
from jobws.server.authorizer import MAX_ASKS, AuthorizerError
from jobws.server.gate import MAX_REQUESTS
from jobws.server.websocket.asked_client import AnyHubClient, asked_rights
from jobws.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from jobws.access.asked import AskedRights, Check, Rehearsal, Verdict
    from jobws.server.gate import Gate
    from jobws.server.tasks import Tasks

TICK_SECONDS: Final = 0.25
# How many clients are asked about at the same time, beside the questions for requests.
AT_ONCE: Final = MAX_ASKS - MAX_REQUESTS
AGAIN_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 25.0

_log: Final = logging.getLogger(__name__)


class Reasking:
    """Asks the authorizer again.

    Args:
        gate: Asks the authorizer.
        labels: The labels of all queues; a live view. When one is added, all clients are asked about, since the new
            queue may have jobs that their subscriptions are to.
        members: Returns the clients.
        doubt: Called with the label of a queue if a new answer lets a client read jobs there. The client may have
            missed the outcomes of these jobs while it might not read them.
        tasks: The tasks of the bridge.
    """

    def __init__(
        self,
        gate: Gate,
        labels: Collection[str],
        members: Callable[[], Collection[AnyHubClient]],
        doubt: Callable[[str], None],
        tasks: Tasks,
    ) -> None:
        self._gate = gate
        self._labels = labels
        self._members = members
        self._doubt = doubt
        self._tasks = tasks
        self._asking: set[AnyHubClient] = set()
        # The clients that are due, those that are due for longest first. Up to AT_ONCE workers take them from here.
        self._due: deque[AnyHubClient] = deque()
        self._workers = 0
        # When a client is asked about again, after the authorizer failed.
        self._retry_at: dict[AnyHubClient, float] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        known = set(self._labels)
        while True:
            await anyio.sleep(TICK_SECONDS)
            labels = set(self._labels)
            await self._ask_of_members(found=bool(labels - known))
            known = labels

    async def _ask_of_members(self, *, found: bool) -> None:
        """Put the clients into `_due` that are to be asked about now, and start the workers that ask.

        These are the clients that are due, or all if a queue was `found`. If a client has been due for GRACE_SECONDS,
        the authorizer fails. Then nobody is asked about it, and each of its checks without a valid answer is a no.
        """
        now, turn, members = anyio.current_time(), Turn(), self._members()
        if self._retry_at:
            self._retry_at = {client: self._retry_at[client] for client in self._retry_at.keys() & set(members)}
        due: list[tuple[float, int, AnyHubClient, AskedRights]] = []
        for client in members:
            await turn.pause()
            rights = asked_rights(client)
            if rights is not None and found:
                rights.due = min(rights.due, now)
            # While its requests are being served, a client gets subscriptions that rest on answers of before.
            if rights is not None and (rights.due <= now or rights.in_use):
                due.append((rights.due, len(due), client, rights))
        self._due.clear()
        for at, _, client, rights in sorted(due):
            await turn.pause()
            if now - at >= GRACE_SECONDS:
                self._apply(client, rights, self._gate.recall_all(rights, partial(_examine, client)))
            elif self._retry_at.get(client, now) <= now:
                self._due.append(client)
        for _ in range(self._workers, min(AT_ONCE, self._workers + len(self._due))):
            self._workers += 1
            self._tasks.spawn(self._work)

    async def _work(self) -> None:
        """Take clients from `_due` and ask about them, one after the other, until `_due` is empty.

        The caller that starts this task counts it in `_workers` first. Several may run at the same time.
        """
        try:
            while self._due:
                client = self._due.popleft()
                rights = asked_rights(client)
                if rights is not None and client not in self._asking:
                    self._asking.add(client)
                    await self._ask(client, rights)
                await anyio.lowlevel.checkpoint()  # there may be nothing to ask about
        finally:
            self._workers -= 1

    async def _ask(self, client: AnyHubClient, rights: AskedRights) -> None:
        try:
            verdicts = await self._gate.judge_again(rights, partial(_examine, client))
        except (AuthorizerError, RequestError):
            now = anyio.current_time()
            self._retry_at[client], rights.due = now + AGAIN_SECONDS, min(rights.due, now)
        except Exception:  # noqa: BLE001 - one client must not end the bridge
            _log.exception("the authorizer could not be asked again")
            self._retry_at[client] = anyio.current_time() + AGAIN_SECONDS
        else:
            self._apply(client, rights, verdicts)
        finally:
            self._asking.discard(client)

    def _apply(self, client: AnyHubClient, rights: AskedRights, verdicts: Mapping[Check, Verdict]) -> None:
        self._retry_at.pop(client, None)
        if asked_rights(client) is not rights:
            return  # a new token has brought other rights meanwhile
        jobs = [check for check, each in verdicts.items() if each.allow and check.action is Action.READ_JOB]
        gained = {check.queue for check in jobs if not rights.include(*check)}
        if rights.keep(verdicts):
            client.reapply(AskedSight(rights))
        for queue in gained:
            if queue is not None:
                self._doubt(queue)


def _examine(client: AnyHubClient, rehearsal: Rehearsal) -> None:
    client.examine(AskedSight(rehearsal))
