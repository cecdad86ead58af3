"""Ends blocked reads early (CLIENT UNBLOCK, since Redis 5), so that a listener can read other streams, too."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import hiredis

from jobws.bullmq.connect import Connection, RedisTarget
from jobws.errors import RedisRefusedError, RedisUnavailableError

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobws.bullmq.listener import Listener

TIMEOUT_SECONDS: Final = 5.0
# Redis may meet our command before the read that it is to end.
AGAIN_SECONDS: Final = 0.002

_log: Final = logging.getLogger(__name__)


class Unblocker:
    """Ends the reads of listeners that are woken, over a connection of its own, while `run` runs.

    Args:
        target: Where Redis is.
        listeners: The listeners; a live view.
    """

    def __init__(self, target: RedisTarget, listeners: Collection[Listener]) -> None:
        self._target = target
        self._listeners = listeners
        self._asked = anyio.Event()

    def unblock(self, _listener: Listener) -> None:
        """End the blocked read of a listener soon. Never waits."""
        self._asked.set()

    async def run(self) -> None:
        """Do it until cancelled."""
        connection: Connection | None = None
        try:
            while True:
                await self._asked.wait()
                self._asked = anyio.Event()
                try:
                    if connection is None or connection.closed:
                        connection = await Connection.open(self._target)
                    await self._unblock_all(connection)
                except (RedisUnavailableError, RedisRefusedError) as error:
                    _log.debug("blocked reads end by themselves: %s", error)
        finally:
            if connection is not None:
                connection.close()

    async def _unblock_all(self, connection: Connection) -> None:
        while blocked := [each for each in self._listeners if each.is_woken and each.client_id is not None]:
            commands = [("CLIENT", "UNBLOCK", str(each.client_id)) for each in blocked]
            for reply in await connection.execute(*commands, timeout_seconds=TIMEOUT_SECONDS):
                if isinstance(reply, hiredis.ReplyError):
                    _log.info("blocked reads take at most 0.25 s, since Redis refuses CLIENT UNBLOCK: %s", reply)
                    for each in self._listeners:
                        each.may_unblock = False
                    return
            await anyio.sleep(AGAIN_SECONDS)
