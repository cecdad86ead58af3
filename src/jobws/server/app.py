"""Builds the ASGI app: its routes, and the middleware that every request passes first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from jobws.access.scope import Action
from jobws.errors import ConfigurationError, JobwsError
from jobws.server.callers import Callers
from jobws.server.guard import Guard, with_cors
from jobws.server.http import health, openapi, page, static
from jobws.server.http import routes as http_routes
from jobws.server.http.problems import answer_error, answer_routing
from jobws.server.http.request import ExactPaths
from jobws.server.http.rights import CheckedRoute, may
from jobws.server.http.service import NOT_RUNNING
from jobws.server.paced import Paced
from jobws.server.proxies import Proxied
from jobws.server.response_headers import ResponseHeaders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

    from jobws.server.authentication import Authentication
    from jobws.server.failed_auths import FailedAuths
    from jobws.server.http.service import Service
    from jobws.server.metrics import Metrics
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks
    from jobws.server.websocket.clients import Clients
    from jobws.server.websocket.rates import Rates


def make_app(
    settings: Settings,
    authentication: Authentication,
    failed_auths: FailedAuths,
    rates: Rates,
    service: Service,
    metrics: Metrics,
    websockets: Mapping[str, Clients[Any, Any]],
    tasks: Tasks,
    lifespan: Callable[[object], AbstractAsyncContextManager[None]],
) -> ASGIApp:
    """Build the ASGI app.

    Args:
        settings: The limits, and the hosts and origins that are allowed.
        authentication: Verifies the tokens of requests.
        failed_auths: Counts the tokens that are refused.
        rates: What the holders of tokens may send.
        service: The parts of the bridge that the HTTP endpoints use.
        metrics: Answers `/metrics`.
        websockets: By path, the object that serves the WebSockets of this path.
        tasks: The tasks of the bridge. While they do not run, WebSockets are refused with 503.
        lifespan: The context manager that the app enters when a server starts the app.

    Raises:
        ConfigurationError: The path of a route begins with `root_path`, so it cannot be told whether a proxy took
            `root_path` away.
    """
    public = [health.LIVENESS, Route("/openapi.json", openapi.answer), *static.routes()]
    if settings.page:
        public.extend(page.routes())
    optional = [health.readiness(service)]
    # All others name their right: a plain Route would be served to every client that has some token.
    checked: list[CheckedRoute] = [
        CheckedRoute("/metrics", metrics.answer, may(Action.READ_METRICS), ["GET"]),
        *http_routes.routes(service),
    ]
    sockets = [WebSocketRoute(path, _WhileRunning(clients, tasks)) for path, clients in websockets.items()]
    routes: list[Route | WebSocketRoute] = [*sockets, *public, *optional, *checked]
    prefix = settings.root_path
    if prefix and any(route.path.startswith(f"{prefix}/") for route in routes):
        raise ConfigurationError(f"--root-path {prefix}: routes of the bridge begin with it; take another, as /live")
    handlers: Mapping[Any, ExceptionHandler] = {JobwsError: answer_error, HTTPException: answer_routing}
    inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    # Starlette would redirect `/jobs/http/`, which has no job id, to `/jobs/http`, the job called "http".
    inner.router.redirect_slashes = False
    called = Callers(Paced(ExactPaths(inner), rates), authentication, public, optional, failed_auths, rates.pace)
    guarded = Guard(with_cors(called, settings), settings, keyed=authentication.required)
    return ResponseHeaders(Proxied(guarded, settings))


def make_metrics_app(settings: Settings, metrics: Metrics) -> ASGIApp:
    """Build the ASGI app of `metrics_listen`, which serves `/metrics` to this machine without a token."""
    handlers: Mapping[Any, ExceptionHandler] = {HTTPException: answer_routing}
    inner = Starlette(routes=[Route("/metrics", metrics.answer)], exception_handlers=handlers)
    own_machine = replace(settings, auth=True, allowed_hosts=(), allowed_origins=())
    return ResponseHeaders(Guard(inner, own_machine, keyed=False))


class _WhileRunning:
    """Serves WebSockets while the bridge runs.

    This is an object because Starlette treats a function as a handler that expects Starlette's own WebSocket class.
    """

    def __init__(self, clients: Clients[Any, Any], tasks: Tasks) -> None:
        self._clients = clients
        self._tasks = tasks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._tasks.are_running:
            await self._clients.serve(scope, receive, send)
        else:
            await PlainTextResponse(f"{NOT_RUNNING}\n", 503)(scope, receive, send)
