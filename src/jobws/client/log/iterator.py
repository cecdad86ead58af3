"""Following the log that all programs share: `connect_logs`."""

from __future__ import annotations

import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self, TypeAlias

import trio

from jobws.client.connection.reconnecting import Session, require_trio, running
from jobws.client.connection.token import Credentials, Token
from jobws.client.log.feed import LogFeed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from jobws.client.log.feed import LogLine

Names: TypeAlias = "str | Sequence[str] | None"
"""One, several, or any."""


class LogLines:
    """Lines, in the order of the stream; an async iterator. Make it with `connect_logs`.

    It ends only without `follow`; it raises what ended it otherwise. Cancelling loses no line.
    """

    def __init__(self, feed: LogFeed, news: _News) -> None:
        self._feed = feed
        self._news = news

    def __aiter__(self) -> Self:
        return self

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
            await self._news.wait()


class _News:
    """Wakes whoever waits for something new."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()


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
    """The log of the bridge whose base URL is `url`, from now on, or from `tail` or `after` on. Runs on trio.

    `async with connect_logs(url, level="warning") as lines: async for line in lines: …`. Once it is entered, no line
    is missed; a connection that is lost is made again and goes on behind the last line. Where lines are missing all
    the same, a line of the client itself says so (`LogLine.dropped`).

    Args:
        url: http(s) or ws(s), with the path below which the bridge is.
        level: The least severe level: debug, info, warning, error or critical.
        source: Programs that wrote the lines.
        queue: Labels of queues that lines are about.
        job_id: Jobs that lines are about.
        text: A part of the message, in upper or lower case.
        tail: Begin with so many of the last lines that pass the filters.
        after: Begin behind the line of this id. Not together with `tail`.
        follow: Go on; without, it ends behind the last line that is there at the beginning.
        token: As for `jobws.client.connect`.

    Raises:
        UnreachableError: Nothing there speaks jobws.v1. Only now: a connection that is lost later is made again.
        RefusedError: The bridge refuses this client.
        ResponseError: A filter is wrong; the message says which. Without `follow` also if Redis does not answer the
            bridge (`code` is `unavailable`); with it, that is waited for.
        ClientError: This is no trio program, or the token can be none.
    """
    require_trio("jobws.sync.connect_logs")
    filters = {"level": level, "source": source, "queue": queue, "jobId": job_id, "text": text}
    chosen = {key: value for key, value in filters.items() if value is not None}
    begin = {key: value for key, value in {"tail": tail, "after": after}.items() if value is not None}
    news = _News()
    feed = LogFeed(
        chosen,
        begin,
        follow=follow,
        now_ms=lambda: time.time_ns() // 1_000_000,
        changed=news.tell,
        chance=random.random,
    )
    async with running(Session(url, Credentials(token), feed, "/logs")):
        while not feed.answered and feed.failure is None:
            await news.wait()
        if feed.failure is not None:
            raise feed.failure
        yield LogLines(feed, news)
