"""The ASGI application and the server that runs it.

An app that mounts the bridge needs `Bridge` and `Settings`, and `Identity` if it says itself who clients are. They are
imported on first use, so that the command line can read the settings without the extra `server`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobws.access.identity import Identity as Identity
    from jobws.server.bridge import Bridge as Bridge
    from jobws.server.settings import Settings as Settings

_HOMES = {
    "Bridge": "jobws.server.bridge",
    "Identity": "jobws.access.identity",
    "Settings": "jobws.server.settings",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(_HOMES[name]), name)
