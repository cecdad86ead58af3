"""For programs that write logs: a `logging.Handler` whose lines everybody sees at /logs. Needs the extra `logs`."""

from jobws.logs.handler import LogsHandler, about_job

__all__ = ("LogsHandler", "about_job")
