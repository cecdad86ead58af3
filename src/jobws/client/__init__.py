"""The Python client. It imports nothing of the server."""

from jobws.client.session import Client, Event, connect

__all__ = ("Client", "Event", "connect")
