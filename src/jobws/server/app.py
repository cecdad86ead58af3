"""The ASGI app: which path is whose, and what stands before all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from jobws.errors import JobwsError
from jobws.server.guard import Guard, with_cors
from jobws.server.http import health, openapi, static
from jobws.server.http import routes as http_routes
from jobws.server.http.problems import answer_error, answer_routing
from jobws.server.http.request import ExactPaths
from jobws.server.http.service import NOT_RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

    from jobws.server.http.service import Service
    from jobws.server.metrics import Metrics
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks
    from jobws.server.websocket.endpoint import Clients


def make_app(
    settings: Settings,
    service: Service,
    metrics: Metrics,
    websockets: Mapping[str, Clients[Any, Any]],
    tasks: Tasks,
    lifespan: Callable[[object], AbstractAsyncContextManager[None]],
) -> ASGIApp:
    """The app.

    Args:
        settings: Whom to let in.
        service: What the HTTP endpoints need.
        metrics: The endpoint `/metrics`.
        websockets: By path, whose clients connect there.
        tasks: Those of the bridge. While they do not run, WebSockets are refused.
        lifespan: What the app enters when a server starts it.
    """
    routes = [
        *(WebSocketRoute(path, _WhileRunning(clients, tasks)) for path, clients in websockets.items()),
        *health.routes(service),
        Route("/metrics", metrics.answer),
        Route("/openapi.json", openapi.answer),
        *static.routes(),
        *http_routes.routes(service),
    ]
    handlers: Mapping[Any, ExceptionHandler] = {JobwsError: answer_error, HTTPException: answer_routing}
    inner = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    # It would send `/jobs/http/`, a job without an id, to `/jobs/http`, the job called "http".
    inner.router.redirect_slashes = False
    return Guard(with_cors(ExactPaths(inner), settings), settings)


class _WhileRunning:
    """Serves WebSockets while the bridge runs.

    An object, since Starlette takes a function for a handler of its own WebSocket class.
    """

    def __init__(self, clients: Clients[Any, Any], tasks: Tasks) -> None:
        self._clients = clients
        self._tasks = tasks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._tasks.are_running:
            await self._clients.serve(scope, receive, send)
        else:
            await PlainTextResponse(f"{NOT_RUNNING}\n", 503)(scope, receive, send)
