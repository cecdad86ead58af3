"""The bridge's own log, for those who follow all programs' logs in one place."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jobws.logs import LogsHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.server.settings import Settings

SOURCE: Final = "jobws"


@contextmanager
def own_log(settings: Settings) -> Iterator[None]:
    """A context inside which what this process logs is also written to the log stream, unless `own_log` is off.

    Leaving it waits for what is not yet written, 2 s at most. Raises ConfigurationError if the Redis URL cannot be
    understood.
    """
    if not settings.own_log:
        yield
        return
    handler = LogsHandler(
        settings.redis, source=SOURCE, stream=settings.logs_stream, limit_entries=settings.logs_limit_entries
    )
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
