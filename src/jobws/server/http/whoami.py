"""`GET /whoami`: who sent the request, as the bridge sees it, and whether the bridge acts on jobs and queues at all.

Of the sender it has the name (`sub`), the rights (a scope), and when the token expires. If the bridge needs no tokens,
everybody is an admin. Where an authorizer decides, the scope is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobws.access.scope import entry_text
from jobws.protocol.http_resources import Whoami
from jobws.server.http.request import json_answer
from jobws.server.http.rights import identity_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.server.http.service import Service


class Asking:
    """The endpoint `GET /whoami`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def whoami(self, request: Request) -> Response:
        """Answer `GET /whoami`."""
        identity = identity_of(request)
        scope = " ".join(map(entry_text, identity.rights.entries))
        return json_answer(Whoami(identity.sub, scope, identity.expires_ms, self._service.takes_actions))
