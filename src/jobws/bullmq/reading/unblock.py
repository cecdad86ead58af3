"""Ends blocked reads early with CLIENT UNBLOCK (Redis 5), so that a reader can begin to read further streams."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import hiredis

from jobws.errors import RedisRefusedError, RedisUnavailableError
from jobws.redis.connection import Connection, RedisTarget

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobws.bullmq.reading.reader import StreamReader

TIMEOUT_SECONDS: Final = 5.0
# The pause before a command is repeated: Redis may execute it before the read that it is to end.
AGAIN_SECONDS: Final = 0.002
# The time between two attempts to connect, and between two attempts if Redis forbids our user CLIENT UNBLOCK.
RETRY_SECONDS: Final = 1.0
REFUSED_SECONDS: Final = 60.0

_log: Final = logging.getLogger(__name__)


class Unblocker:
    """Ends the blocked reads of readers on which `wake` was called. `run` does it, over a connection of its own.

    Args:
        target: Where Redis is.
        readers: The readers. The caller may change this collection later.

    Attributes:
        works: Whether Redis has shown, over the present connection, that it permits CLIENT UNBLOCK. If it is False,
            readers must not block for long.
    """

    def __init__(self, target: RedisTarget, readers: Collection[StreamReader]) -> None:
        self.works = False
        self._target = target
        self._readers = readers
        self._asked = anyio.Event()

    def unblock(self) -> None:
        """Have `run` end the blocked XREAD of each reader on which `wake` was called. Never waits."""
        self._asked.set()

    async def run(self) -> None:
        """Unblock reads until cancelled.

        While Redis is unavailable, or refuses this command, a blocked read ends when its time is over.
        """
        is_refusal_said = False
        while True:
            pause = RETRY_SECONDS
            try:
                connection = await Connection.open(self._target)
                try:
                    await self._serve(connection)
                finally:
                    self.works = False
                    connection.close()
            except RedisRefusedError as error:
                pause = REFUSED_SECONDS
                if not is_refusal_said:
                    _log.info("%s; so reads are blocked for a quarter of a second only", error)
                is_refusal_said = True
            except RedisUnavailableError as error:
                _log.debug("blocked reads end by themselves: %s", error)
            await anyio.sleep(pause)

    async def _serve(self, connection: Connection) -> None:
        # There is no client 0, so this command only shows whether Redis permits CLIENT UNBLOCK.
        await _execute(connection, ["0"])
        self.works = True
        while True:
            self._asked = anyio.Event()
            while blocked := [each.client_id for each in self._readers if each.is_woken and each.client_id]:
                await _execute(connection, [str(client_id) for client_id in blocked])
                await anyio.sleep(AGAIN_SECONDS)
            await self._asked.wait()


async def _execute(connection: Connection, client_ids: Collection[str]) -> None:
    """End the blocked reads of the connections with these ids. Others are not affected.

    Raises:
        RedisUnavailableError: Redis did not answer, or cannot do this now.
        RedisRefusedError: Redis does not permit CLIENT UNBLOCK.
    """
    commands = [("CLIENT", "UNBLOCK", client_id) for client_id in client_ids]
    for reply in await connection.execute(*commands, timeout_seconds=TIMEOUT_SECONDS):
        if isinstance(reply, hiredis.ReplyError):
            refused = str(reply).startswith(("NOPERM", "ERR unknown"))
            error = RedisRefusedError if refused else RedisUnavailableError
            raise error(f"Redis answered CLIENT UNBLOCK with an error: {reply}")
