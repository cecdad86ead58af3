"""`/healthz`, which says that the process answers, and `/readyz`, which says whether all queues are being read."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import UNSET
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from jobws.access.caller import CALLER
from jobws.access.identity import Identity, allows
from jobws.access.scope import Action
from jobws.protocol.http_resources import Readiness
from jobws.protocol.messages import NAMED_QUEUES
from jobws.server.http.request import json_answer

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.server.http.service import Service


def readiness(service: Service) -> Route:
    """Return the route `/readyz`. Only callers with `read:metrics` get the names of the queues."""

    async def readyz(request: Request) -> Response:
        problems, caller = service.problems(), request.scope[CALLER]
        if not (isinstance(caller, Identity) and allows(caller, Action.READ_METRICS)):
            return json_answer(Readiness(not problems, {}), 503 if problems else 200)
        named = dict(islice(problems.items(), NAMED_QUEUES))
        readiness = Readiness(not problems, named, len(problems) - len(named) or UNSET)
        return json_answer(readiness, 503 if problems else 200)

    return Route("/readyz", readyz)


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


LIVENESS: Final = Route("/healthz", _healthz)
