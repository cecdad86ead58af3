"""Writes the bridge's own log to the log stream, which has the lines of all programs."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobws.logs import LogsHandler
from jobws.protocol.log.records import OWN_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobws.server.settings import Settings


@contextmanager
def own_log(settings: Settings) -> Iterator[None]:
    """Inside this context, write all log records of this process to the log stream, too.

    If the setting `own_log` is off, nothing happens.

    Leaving the context waits for lines that are not yet written, for 2 s at most.

    Raises:
        ConfigurationError: The Redis URL is malformed.
    """
    if not settings.own_log:
        yield
        return
    handler = LogsHandler(
        settings.redis, source=OWN_SOURCE, stream=settings.logs_stream, limit_entries=settings.logs_limit_entries
    )
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
