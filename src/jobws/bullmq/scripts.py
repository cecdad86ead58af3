"""Runs scripts of BullMQ's package in a transaction that first asks whether the job exists.

So of two clients that remove a job together, one removes it, and the other one is told that there is no such job.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from jobws.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobws.bullmq.keys import Queue


class _Connection(NamedTuple):
    """What the package's `Scripts` need of a connection: the client, and the scripts by name."""

    conn: Any
    commands: dict[str, Any]


async def run_script(
    bullmq_queue: Any, transaction: Any, queue: Queue, job_id: str, call: Callable[[Any], Awaitable[object]]
) -> int:
    """Execute a transaction with a script in it, and return the script's answer.

    Args:
        bullmq_queue: The package's `Queue` object.
        transaction: A pipeline of redis-py that is a transaction. It may watch keys.
        queue: The queue.
        job_id: The job.
        call: Given a `Scripts` object of the package, which knows the scripts' keys and arguments, calls one of its
            methods. The object puts the script into the transaction in place of running it.

    Raises:
        RequestError: `unknown-job`.
        WatchError: A key that the transaction watches has changed; nothing was done. This is an error of redis-py.
    """
    from bullmq.scripts import Scripts

    commands = {name: partial(script, client=transaction) for name, script in bullmq_queue.scripts.commands.items()}
    transaction.exists(bullmq_queue.toKey(job_id))
    await call(Scripts(queue.prefix, queue.name, _Connection(transaction, commands)))
    exists, answer = await transaction.execute()
    if not exists:
        raise unknown_job(queue)
    return int(answer)


def unknown_job(queue: Queue) -> RequestError:
    """Return the error for a job that does not exist."""
    return RequestError("unknown-job", f'no job of that id in queue "{queue.label}"; it may have been removed')
