"""A `logging.Handler`: clients of the bridge see what programs log with it. Needs the extra `logs`."""

from jobws.logs.handler import LogsHandler, about_job

__all__ = ("LogsHandler", "about_job")
