"""`/healthz`, which says that the process answers, and `/readyz`, which says whether all queues are being read."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from msgspec import UNSET
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from jobws.access.caller import CALLER
from jobws.access.identity import Identity, allows
from jobws.access.scope import Action
from jobws.errors import RequestError
from jobws.protocol.http_resources import Readiness
from jobws.protocol.messages import NAMED_QUEUES
from jobws.server.http.request import json_answer
from jobws.server.http.rights import judged

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.server.http.service import Service


def readiness(service: Service) -> Route:
    """Return the route `/readyz`. Only callers with `read:metrics` get the names of the queues."""

    async def readyz(request: Request) -> Response:
        problems, may_know = service.problems(), False
        if isinstance(request.scope[CALLER], Identity):
            with suppress(RequestError):  # then it gets what everyone gets
                may_know = _knows(await judged(request, _knows))
        if not may_know:
            return json_answer(Readiness(not problems, {}), 503 if problems else 200)
        named = dict(islice(problems.items(), NAMED_QUEUES))
        readiness = Readiness(not problems, named, len(problems) - len(named) or UNSET)
        return json_answer(readiness, 503 if problems else 200)

    return Route("/readyz", readyz)


def _knows(identity: Identity) -> bool:
    return allows(identity, Action.READ_METRICS)


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


LIVENESS: Final = Route("/healthz", _healthz)
