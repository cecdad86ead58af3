"""Fixtures that every test may use (backend, time limit, Redis servers), and how tests are distributed over
processes.
"""

from __future__ import annotations

import gc
import os
import signal
from contextlib import ExitStack
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import HealthCheck, settings

from jobws.embedded import ENVIRONMENT_VARIABLE, EmbeddedRedis
from tests.support.parallel import TOGETHER, pytest_xdist_auto_num_workers, pytest_xdist_make_scheduler
from tests.support.redis import Redis
from tests.support.servers import redis_6, server_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import FrameType

    from tests.support.browser import Chromium

# The time limit of a test. Even on a busy machine where npm installs packages meanwhile, only a test that hangs takes
# longer.
LIMIT_SECONDS = 360


# No deadline, since the time of an example depends on the machine. The first one builds Unicode's tables in 2.5 s.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", parent=settings.get_profile("patient"), max_examples=25)
settings.register_profile("fuzz", parent=settings.get_profile("patient"), max_examples=10_000)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts a job in the background with SIGINT ignored, and the programs that tests interrupt inherit this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "long: it takes seconds, so it begins first and no process has it last; not fast"
    )
    config.addinivalue_line("markers", "thorough: `make test-all` runs it, and `make test` does not")
    config.addinivalue_line(
        "markers", "counts: the server must count what was added to a stream, as Redis 6.2 does not"
    )
    if os.environ.get(ENVIRONMENT_VARIABLE) == "6.2":
        os.environ[ENVIRONMENT_VARIABLE] = str(redis_6())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not _begins_first(item))
    if not server_counts():
        reason = "Redis 6.2 counts no additions: tests/server/jobs/test_without_counts.py has what it tells instead"
        for item in items:
            if item.get_closest_marker("counts") is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


def _begins_first(item: pytest.Item) -> bool:
    """Whether a test takes seconds, alone or with those that must follow in the same process."""
    return item.get_closest_marker("long") is not None or item.nodeid.partition("::")[0] in TOGETHER


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exclude what is imported and collected from garbage collection, now and in all tests, since it stays until the
    end.

    Otherwise the garbage collector takes a third of the time of the collection, and a fifth of the time of short tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    """Let a test that hangs fail at the place where it hangs."""

    # `make fuzz` tries a hundred times as many inputs.
    seconds = LIMIT_SECONDS * max(1, settings.default.max_examples // 1000)  # type: ignore[union-attr]

    def too_slow(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took longer than {seconds} s")

    previous = signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test with `anyio.run`, as programs do.

    anyio's plugin runs tests and async fixtures on one loop. There are no such fixtures, and with trio it means that a
    thread waits for each event, which is two thirds more work.
    """
    if not iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    anyio.run(partial(pyfuncitem.obj, **arguments), backend=str(pyfuncitem.funcargs["anyio_backend"]))
    return True


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "trio"


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def redis(_redis_server: EmbeddedRedis) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis(_redis_server) as redis:
        redis.client.flushall()
        yield redis


@pytest.fixture
def own_redis() -> Iterator[Callable[..., Redis]]:
    """Yield a function that starts a Redis for this test alone, which may kill it.

    The arguments are lines of redis.conf.
    """
    with ExitStack() as stack:

        def make(*config: str) -> Redis:
            return stack.enter_context(Redis(stack.enter_context(EmbeddedRedis(config))))

        yield make


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A browser that all tests of a process share. Playwright is imported only if a test uses it."""
    from tests.support.browser import Chromium

    with Chromium() as browser:
        yield browser


__all__ = (
    "anyio_backend",
    "chromium",
    "own_redis",
    "pytest_xdist_auto_num_workers",
    "pytest_xdist_make_scheduler",
    "redis",
)
