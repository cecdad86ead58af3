"""The Python client, on trio: `connect` for jobs, `connect_logs` for the log. It needs nothing of the server."""

from jobws.client.client import Client, connect
from jobws.client.frames import Event
from jobws.client.jobs.iterators import Events, Outcomes
from jobws.client.log.feed import LogLine
from jobws.client.log.iterator import LogLines, connect_logs

__all__ = ("Client", "Event", "Events", "LogLine", "LogLines", "Outcomes", "connect", "connect_logs")
