"""A `logging.Handler` for programs whose log lines are to appear at /logs. Needs the extra `logs`."""

from jobws.logs.handler import LogsHandler, about_job

__all__ = ("LogsHandler", "about_job")
