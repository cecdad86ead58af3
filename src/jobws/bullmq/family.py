"""Finds the jobs below a job in its flow, as BullMQ's script finds them that removes a job with its children."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from jobws.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jobws.bullmq.keys import Queue

# How many jobs are removed together. With 10,000 jobs, BullMQ's script takes 440 ms on Valkey 9.1, and on Redis 7.0 a
# WATCH of their lists takes 4.7 s. Redis serves nobody else meanwhile. With 1,000, a removal takes 0.13 s on Redis 7.0.
MAX_REMOVED: Final = 1_000
# What a job's key is followed by in the keys of its lists of children, and the command that reads such a list: children
# that have not ended, that completed, that failed where the job ignores this, and that failed otherwise
# (includes/removeJobWithChildren.lua).
LISTS: Final = {
    b":dependencies": ("SMEMBERS",),
    b":processed": ("HKEYS",),
    b":failed": ("HKEYS",),
    b":unsuccessful": ("ZRANGE", 0, -1),
}


async def descendants(bullmq_queue: Any, key: bytes) -> frozenset[bytes]:
    """Return the keys of all jobs below a job.

    Args:
        bullmq_queue: The package's `Queue` object.
        key: The key of the job.

    Raises:
        RequestError: `too-many`.
    """
    async with bullmq_queue.client.pipeline(transaction=True) as transaction:
        return await watched_descendants(transaction, key)


async def watched_descendants(transaction: Any, key: bytes) -> frozenset[bytes]:
    """Return the keys of all jobs below a job, and let the transaction fail if they change before it is executed.

    Args:
        transaction: A pipeline of redis-py whose `multi()` was not called yet. The caller calls it afterwards; until
            then, the pipeline executes each command immediately.
        key: The key of the job.

    Raises:
        RequestError: `too-many`.
    """
    found: set[bytes] = set()
    level = {key}
    while level:
        lists = [each + suffix for each in level for suffix in LISTS]
        await transaction.watch(*lists)
        # Most jobs have no children, and one command tells this for all of them.
        if not await transaction.exists(*lists):
            break
        below = {child for each in level for child in await _children(transaction, each)}
        level = below - found - {key}
        found |= level
        if len(found) > MAX_REMOVED:
            raise RequestError(
                "too-many", f"more than {MAX_REMOVED:,} jobs are below the job; remove parts of the flow first"
            )
    return frozenset(found)


async def _children(transaction: Any, key: bytes) -> set[bytes]:
    children: set[bytes] = set()
    for suffix, (command, *arguments) in LISTS.items():
        # Not decoded, since ids may be no UTF-8.
        children.update(await transaction.execute_command(command, key + suffix, *arguments, NEVER_DECODE=True))
    return children


def job_of(key: bytes, labels: Mapping[bytes, str]) -> tuple[str, str] | None:
    """Return the queue's label and the id of a job, from its key.

    BullMQ's script takes the text after the last colon for the id, and would change keys of other queues if the id
    itself holds a colon. So such a key has no job here.

    Args:
        key: The key.
        labels: The labels of the queues, by what their keys begin with: `<prefix>:<name>:`.

    Returns:
        None if the bridge does not serve the queue, or cannot tell the id.
    """
    front, colon, job_id = key.rpartition(b":")
    label = labels.get(front + colon)
    try:
        return None if label is None else (label, job_id.decode())
    except UnicodeDecodeError:
        return None


def labels_by_front(queues: Iterable[Queue]) -> dict[bytes, str]:
    """Return the labels of queues, by what the keys of each begin with, as `job_of` takes them."""
    return {queue.key(""): queue.label for queue in queues}
