"""Builds the commands that list the ids of the jobs in one state, page by page, and parses the replies. Pure.

BullMQ keeps these ids in a list or a sorted set. The first page begins with the job that came last, that ended last, or
that is to run last. In a list this is the head, since BullMQ adds jobs there and takes them from the tail. In a sorted
set it is the highest score. A score is the time when the job ended, the time when it is due, or its priority
(includes/getDelayedScore.lua, getPriorityScore.lua).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from jobws.bullmq.keys import Queue
from jobws.errors import RedisUnavailableError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobws.redis.commands import Command

_LISTS: Final = {"waiting": "wait", "active": "active"}
STATES: Final = (*_LISTS, "delayed", "prioritized", "waiting-children", "completed", "failed")
"""The states that can be listed, with the names that snapshots use."""
# A cursor says how many entries to skip and, for a sorted set, the score at which the page begins. Scores decrease.
_CURSOR: Final = re.compile(r"(\d{1,9})(?::(-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?)))?", re.ASCII)


class JobPage(Struct, frozen=True):
    """A query to Redis for up to `limit` ids of the jobs in `state`.

    A page of a sorted set begins at a score, so jobs that end between two requests do not shift it. The first `passed`
    entries with exactly this score were on earlier pages. A list has no scores: `passed` is the index at which the page
    begins, so its pages shift when jobs come or go.
    """

    queue: Queue
    state: str
    limit: int
    passed: int = 0
    score: str = "+inf"

    def commands(self) -> list[Command]:
        """Return the one command whose reply `parse` reads."""
        if self.state in _LISTS:
            return [("LRANGE", self.queue.key(_LISTS[self.state]), self.passed, self.passed + self.limit - 1)]
        bounds: Command = (self.score, "-inf", "WITHSCORES", "LIMIT", self.passed, self.limit)
        return [("ZREVRANGEBYSCORE", self.queue.key(self.state), *bounds)]

    def parse(self, replies: Sequence[object]) -> tuple[list[str], str | None]:
        """Return the ids of the page, and the cursor of the next page; None means that this page is the last one.

        Ids that are not valid UTF-8 cannot be sent to clients and are left out.

        Raises:
            RedisUnavailableError: Redis answered with an error.
        """
        reply = replies[0]
        if not isinstance(reply, list):
            raise RedisUnavailableError(f"Redis cannot list jobs now: {reply}")
        if self.state in _LISTS:
            return _texts(reply), f"{self.passed + len(reply)}" if len(reply) == self.limit else None
        job_ids, scores = reply[::2], [score.decode() for score in reply[1::2]]
        if len(job_ids) < self.limit:
            return _texts(job_ids), None
        passed = scores.count(scores[-1]) + (self.passed if scores[-1] == self.score else 0)
        return _texts(job_ids), f"{passed}:{scores[-1]}"


def page(queue: Queue, state: str | None, limit: int, cursor: str | None) -> JobPage:
    """Check a request for one page, and return the query that reads it.

    `cursor` is what `JobPage.parse` returned for the page before; None means the first page.

    Raises:
        RequestError: `state` is None or not one of `STATES` (`bad-state`), or `cursor` is malformed (`bad-cursor`).
    """
    if state not in STATES:
        raise RequestError("bad-state", f"`state` must be one of {', '.join(STATES)}")
    if cursor is None:
        return JobPage(queue, state, limit)
    match = _CURSOR.fullmatch(cursor)
    if match is None or (match[2] is None) != (state in _LISTS):
        raise RequestError("bad-cursor", "`cursor` must be the one that came with the page before")
    return JobPage(queue, state, limit, int(match[1]), match[2] or "+inf")


def _texts(job_ids: Iterable[bytes]) -> list[str]:
    texts = []
    for job_id in job_ids:
        try:
            texts.append(job_id.decode())
        except UnicodeDecodeError:
            continue
    return texts
