"""A `logging.Handler` for programs whose log lines clients of the bridge are to see. Needs the extra `logs`."""

from jobws.logs.handler import LogsHandler, about_job

__all__ = ("LogsHandler", "about_job")
