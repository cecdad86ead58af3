"""A bridge that is mounted in another app, under uvicorn. So it runs on asyncio and has a path prefix."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import uvicorn

from jobws.server.bridge import Bridge
from jobws.server.settings import Settings
from tests.support import EVENTUALLY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

    from jobws.server.authorizer import Authorize
    from jobws.server.hook import Authenticate

PREFIX = "/live"
APPS = ("starlette", "fastapi")


def new_app(kind: str, **arguments: Any) -> Starlette:
    """Return an empty app of one of `APPS`. The import is here since it takes half a second."""
    module, name = {"starlette": ("starlette.applications", "Starlette"), "fastapi": ("fastapi", "FastAPI")}[kind]
    app: Starlette = getattr(import_module(module), name)(**arguments)
    return app


@contextmanager
def mounted_bridge(
    redis_url: str,
    kind: str,
    authenticate: Authenticate | None = None,
    authorize: Authorize | None = None,
    *,
    log_level: str = "error",
    **settings: Any,
) -> Iterator[str]:
    """Serve an app with a mounted bridge until the end of the context. `log_level` is uvicorn's.

    Yield the bridge's base URL when it reads its queues.
    """
    # In a thread without an event loop, since an app makes its bridge when its module is imported.
    with ThreadPoolExecutor() as pool:
        functions: dict[str, Any] = {"authenticate": authenticate, "authorize": authorize}
        bridge = pool.submit(Bridge, Settings(redis=redis_url, **settings), **functions).result()
    app = new_app(kind, lifespan=bridge.lifespan)
    app.mount(PREFIX, bridge.app)
    with served(app, log_level) as url:
        deadline = time.monotonic() + EVENTUALLY_SECONDS
        while bridge.queues.problems(0.0):
            assert time.monotonic() < deadline, bridge.queues.problems(0.0)
            time.sleep(0.005)
        yield url + PREFIX


@contextmanager
def served(app: Starlette, log_level: str = "error") -> Iterator[str]:
    """Serve `app` with uvicorn, in a thread, until the end of the context. Yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level=log_level, ws="websockets-sansio", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
