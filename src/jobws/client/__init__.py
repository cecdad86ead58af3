"""The Python client, on trio: `connect` for jobs, `connect_logs` for the log. It imports nothing of the server."""

from jobws.client.event import Event
from jobws.client.handed import Events, Outcomes
from jobws.client.jobs import Client, connect
from jobws.client.log_feed import LogLine
from jobws.client.logs import LogLines, connect_logs

__all__ = ("Client", "Event", "Events", "LogLine", "LogLines", "Outcomes", "connect", "connect_logs")
