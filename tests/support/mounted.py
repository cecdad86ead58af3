"""A bridge mounted in somebody's app, under uvicorn: asyncio instead of trio, another server, a path prefix."""

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

PREFIX = "/live"
APPS = ("starlette", "fastapi")


def new_app(kind: str, **arguments: Any) -> Starlette:
    """An app of one of the `APPS`, whose import takes half a second."""
    module, name = {"starlette": ("starlette.applications", "Starlette"), "fastapi": ("fastapi", "FastAPI")}[kind]
    app: Starlette = getattr(import_module(module), name)(**arguments)
    return app


@contextmanager
def mounted_bridge(redis_url: str, kind: str, **settings: Any) -> Iterator[str]:
    """The base URL of a bridge that reads its queues."""
    # Made where no event loop runs, as in the module of an app.
    with ThreadPoolExecutor() as pool:
        bridge = pool.submit(Bridge, Settings(redis=redis_url, **settings)).result()
    app = new_app(kind, lifespan=bridge.lifespan)
    app.mount(PREFIX, bridge.app)
    with served(app) as url:
        deadline = time.monotonic() + EVENTUALLY_SECONDS
        while bridge.queues.problems(0.0):
            assert time.monotonic() < deadline, bridge.queues.problems(0.0)
            time.sleep(0.005)
        yield url + PREFIX


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """The URL of `app` under uvicorn, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="error", ws="websockets-sansio", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
