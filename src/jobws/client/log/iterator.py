"""`connect_logs`, which reads the log that all programs share, and the iterator that it returns."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import trio

from jobws.client.connection.reconnecting import Session, require_trio, running
from jobws.client.connection.token import Credentials, Token
from jobws.client.log.feed import LogFeed, LogLine

Names: TypeAlias = str | Sequence[str] | None
"""One name, several names, or None for any."""


class LogLines(AsyncIterator[LogLine]):
    """An async iterator over lines of the log, in the order of the stream. `connect_logs` makes it.

    It ends only with `follow=False`. When no further connection will be made, it raises the reason after the last line.
    Cancelling loses no line. Tasks wait in `news` while `feed` has no line; `changed` of the feed unparks them.
    """

    def __init__(self, feed: LogFeed, news: trio.lowlevel.ParkingLot) -> None:
        self._feed = feed
        self._news = news

    async def __anext__(self) -> LogLine:
        await trio.lowlevel.checkpoint()
        while True:
            line = self._feed.take()
            if line is not None:
                return line
            if self._feed.ended:
                raise StopAsyncIteration
            if self._feed.failure is not None:
                raise self._feed.failure
            await self._news.park()


@asynccontextmanager
async def connect_logs(
    url: str,
    *,
    level: str | None = None,
    source: Names = None,
    queue: Names = None,
    job_id: Names = None,
    text: str | None = None,
    tail: int | None = None,
    after: str | None = None,
    follow: bool = True,
    token: Token | None = None,
) -> AsyncIterator[LogLines]:
    """Read the log that programs share: from now on, or from `tail` or `after` on. This works in programs on trio.

    `async with connect_logs(url, level="warning") as lines: async for line in lines: …`. After a lost connection the
    client reconnects and continues after the last line. If lines are missing nevertheless, the client adds a line that
    says so (`LogLine.dropped`).

    Args:
        url: The bridge's base URL, as for `jobws.client.connect`.
        level: The lowest level to read: debug, info, warning, error or critical. None means all levels.
        source: The name or names of the programs that wrote the lines. None means any.
        queue: The queue or queues that the lines name, as the programs that wrote them call them. None means any.
        job_id: The id or ids of the jobs that the lines concern. None means any.
        text: Text that the message must contain, in upper or lower case. None means any.
        tail: Begin with the last lines that pass the filters, at most this many.
        after: Begin after the line with this id; with `tail`, ResponseError is raised. Both None: with the next line.
        follow: Continue with new lines. False: only those that exist at the beginning; none without `tail` or `after`.
        token: As for `jobws.client.connect`.

    Raises:
        UnreachableError: No bridge at this URL speaks jobws.v1. Only raised for the first connection; later ones are
            tried again.
        RefusedError: The bridge refuses this client.
        ResponseError: The bridge refused the request, for instance for a malformed filter; the message says why. With
            `follow=False` also raised if Redis does not answer the bridge; `code` is then `unavailable`.
        ClientError: The program does not run on trio, or the token is malformed.
    """
    require_trio("jobws.sync.connect_logs")
    filters = {"level": level, "source": source, "queue": queue, "jobId": job_id, "text": text}
    chosen = {key: value for key, value in filters.items() if value is not None}
    begin = {key: value for key, value in {"tail": tail, "after": after}.items() if value is not None}
    news = trio.lowlevel.ParkingLot()  # tasks wait here until `changed` is called
    feed = LogFeed(
        chosen,
        begin,
        follow=follow,
        now_ms=lambda: time.time_ns() // 1_000_000,
        changed=news.unpark_all,
        chance=random.random,
    )
    async with running(Session(url, Credentials(token), feed, "/logs")):
        while not feed.answered and feed.failure is None:
            await news.park()
        if feed.failure is not None:
            raise feed.failure
        yield LogLines(feed, news)
