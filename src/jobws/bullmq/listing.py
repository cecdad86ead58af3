"""The jobs of one state, page by page: what to ask, and what the answers say. Pure.

BullMQ keeps a list or a sorted set per state. Pages run from the job that came last, or that is to run last, to the
first: lists are LPUSHed and worked off at their tail, and the scores of the sorted sets grow with the time of the end,
the time when the job is due, or the order of priorities (includes/getDelayedScore.lua, getPriorityScore.lua).
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
"""The states that can be listed, as snapshots name them."""
# How many entries to pass over, and in a set: below or at which score.
_CURSOR: Final = re.compile(r"(\d{1,9})(?::(-?(?:inf|\d+(?:\.\d+)?(?:e[+-]?\d{1,3})?)))?", re.ASCII)


class Page(Struct, frozen=True):
    """A question to `Store.ask`: the next `limit` ids of the jobs in `state`.

    A set's page begins by score, so that jobs which end meanwhile move nothing; `passed` entries of that very score
    were listed before. A list has nothing but positions: its pages move while jobs come and go.
    """

    queue: Queue
    state: str
    limit: int
    passed: int = 0
    score: str = "+inf"

    def commands(self) -> list[Command]:
        """The one command whose reply `parse` reads."""
        if self.state in _LISTS:
            return [("LRANGE", self.queue.key(_LISTS[self.state]), self.passed, self.passed + self.limit - 1)]
        bounds: Command = (self.score, "-inf", "WITHSCORES", "LIMIT", self.passed, self.limit)
        return [("ZREVRANGEBYSCORE", self.queue.key(self.state), *bounds)]

    def parse(self, replies: Sequence[object]) -> tuple[list[str], str | None]:
        """The ids, and the cursor of the next page; None: there is none.

        An id that is no UTF-8 cannot be named on the wire and is left out.

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


def page(queue: Queue, state: str | None, limit: int, cursor: str | None) -> Page:
    """The question for one page; `cursor` is the one that came with the page before.

    Raises:
        RequestError: `bad-state` or `bad-cursor`.
    """
    if state not in STATES:
        raise RequestError("bad-state", f"`state` must be one of {', '.join(STATES)}")
    if cursor is None:
        return Page(queue, state, limit)
    match = _CURSOR.fullmatch(cursor)
    if match is None or (match[2] is None) != (state in _LISTS):
        raise RequestError("bad-cursor", "`cursor` must be the one that came with the page before")
    return Page(queue, state, limit, int(match[1]), match[2] or "+inf")


def _texts(job_ids: Iterable[bytes]) -> list[str]:
    texts = []
    for job_id in job_ids:
        try:
            texts.append(job_id.decode())
        except UnicodeDecodeError:
            continue
    return texts
