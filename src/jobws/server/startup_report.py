"""The report that `serve` logs at its start: which queues it found, and how far back their streams reach."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio

from jobws.bullmq import overview
from jobws.bullmq.keys import Queue
from jobws.bullmq.keyspace import queue_names
from jobws.errors import RedisUnavailableError
from jobws.redis.connection import Connection
from jobws.redis.server import check_server

if TYPE_CHECKING:
    from jobws.server.bridge import Bridge

TIMEOUT_SECONDS: Final = 5.0
# The report warns if a stream keeps events for less time, since a late subscriber may then miss the result of a removed
# job.
SHORT_RETENTION_SECONDS: Final = 30.0
# How long to search all keys of Redis for queues under other prefixes, which must not delay the start.
SEARCH_SECONDS: Final = 2.0
# How many queues are listed: of those that discovery found, and of those under other prefixes.
SHOWN_QUEUES: Final = 20

_log: Final = logging.getLogger(__name__)


async def report(bridge: Bridge) -> None:
    """Log one line per queue, and one warning per queue that was not found, with the queues that exist.

    Raises:
        RedisUnavailableError: Redis does not answer yet.
        RedisRefusedError: Redis refuses the bridge, is too old, or is a cluster.
    """
    connection = await Connection.open(bridge.target)
    try:
        (info,) = await connection.execute(("INFO", "server"), timeout_seconds=TIMEOUT_SECONDS)
        server = check_server(info, bridge.target.address)
        _log.info("%s at %s", server, bridge.target.address)
        queues = list(bridge.queues.by_label.values())
        if bridge.queues.discovery is not None:
            prefix = bridge.queues.discovery.prefix
            names = await queue_names(connection, prefix)
            _log.info('%d queues under prefix "%s"; further ones are read as they appear', len(names), prefix)
            known = {(queue.prefix, queue.name) for queue in queues}
            for label in sorted(bridge.privacy.named.keys() - bridge.queues.by_label.keys() - set(names)):
                _log.warning('rules say what clients see of queue "%s", which is not there yet', label)
            queues += [Queue(name, prefix, name) for name in names[:SHOWN_QUEUES] if (prefix, name) not in known]
        missing = [queue for queue in queues if not await _report_queue(connection, queue)]
        if missing:
            found = await _others(connection, queues)
            for queue in missing:
                _log.warning(
                    'no queue "%s" under prefix "%s" in db %d; found: %s',
                    *(queue.name, queue.prefix, bridge.target.db, found or "none"),
                )
    finally:
        connection.close()


async def _report_queue(connection: Connection, queue: Queue) -> bool:
    query = overview.Overview(queue)
    seen = query.parse(await connection.execute(*query.commands(), timeout_seconds=TIMEOUT_SECONDS))
    if not seen.found:
        return False
    if seen.retention_seconds is None:
        _log.info('queue "%s": %d events in the stream, nothing trimmed yet', queue.label, seen.length)
        return True
    _log.info('queue "%s": %d events in the stream, %.0f s back', queue.label, seen.length, seen.retention_seconds)
    if seen.retention_seconds < SHORT_RETENTION_SECONDS:
        _log.warning(
            'queue "%s" keeps only %.0f s of events: a later subscriber needs the job itself; keep jobs with '
            "removeOnComplete: {age: 3600}, or raise streams.events.maxLen above %d",
            queue.label,
            seen.retention_seconds,
            seen.max_length,
        )
    return True


async def _others(connection: Connection, queues: list[Queue]) -> str:
    """Return the names of the queues in Redis that are not in `queues`, under any prefix, as `a:one, b:two`.

    The names are sorted. Only the first `SHOWN_QUEUES` are named; the text then ends with, for instance, ` and 5 more`.
    It is empty if there are none, or if Redis does not tell within `SEARCH_SECONDS`.
    """
    known = {f"{queue.prefix}:{queue.name}" for queue in queues}
    names: list[str] = []
    try:
        with anyio.move_on_after(SEARCH_SECONDS):
            names = await queue_names(connection, None)
    except RedisUnavailableError:
        return ""
    found = [name for name in names if name not in known]
    more = len(found) - SHOWN_QUEUES
    return ", ".join(found[:SHOWN_QUEUES]) + (f" and {more} more" if more > 0 else "")
