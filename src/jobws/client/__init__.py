"""The Python client. It imports nothing of the server."""

from jobws.client.event import Event
from jobws.client.handed import Events, Outcomes
from jobws.client.jobs import Client, connect

__all__ = ("Client", "Event", "Events", "Outcomes", "connect")
