"""What the HTTP endpoints need of the bridge; `Bridge` is it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from jobws.protocol.messages import ItemError

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Mapping, Sequence

    from jobws.bullmq.keys import Queue
    from jobws.bullmq.snapshot import Found, Job
    from jobws.bullmq.store import Question
    from jobws.protocol.log_records import LogRecord
    from jobws.server.listening import Listener
    from jobws.server.settings import Settings

Answer = TypeVar("Answer")

UNKNOWN_QUEUE: Final = ItemError("unknown-queue", "this bridge has no `queue` of that label; GET /queues lists them")


class Service(Protocol):
    """What the routes need of the bridge."""

    settings: Settings

    @property
    def labels(self) -> Mapping[str, Queue]:
        """The queues that are known, by label."""
        ...

    @property
    def nameable(self) -> Container[str]:
        """The labels that a client may name: also those of queues that may come."""
        ...

    async def find(self, labels: Collection[str]) -> None:
        """Look for those of the queues that are not known; with no labels, wait until discovery has looked once.

        Raises:
            RedisUnavailableError: Redis did not answer in time.
        """
        ...

    async def queue(self, label: str, *, new: bool = False) -> Queue:
        """The queue of that label, which is looked for if it is not known; `new`: it need not be there.

        Raises:
            RequestError: `unknown-queue` or `bad-queue`.
            RedisUnavailableError: Redis did not answer in time.
        """
        ...

    def problems(self) -> Mapping[str, str]:
        """By label, why a queue is not being read; `*` is the bridge as a whole."""
        ...

    def listener(self) -> Listener:
        """A client inside of this process. Raises RedisUnavailableError while the bridge is not running."""
        ...

    async def look_up(self, jobs: Collection[Job], *, results: bool) -> Found:
        """See `Store.look_up`."""
        ...

    async def ask(self, question: Question[Answer]) -> Answer:
        """See `Store.ask`."""
        ...

    async def submit(self, queue: Queue, name: str, data: object, job_id: str, opts: Mapping[str, object]) -> None:
        """See `Submitter.add`."""
        ...

    async def append_logs(self, records: Sequence[LogRecord]) -> None:
        """See `Logs.append`."""
        ...
