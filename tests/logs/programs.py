"""Programs that test_ends.py runs as processes: `python -m tests.logs.programs NAME REDIS_URL`."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
import warnings

from jobws.logs import LogsHandler

_log = logging.getLogger("program")


def lines(url: str) -> None:
    """Log three lines and end. Print when, on the clock that all processes share."""
    logging.basicConfig(level=logging.INFO, handlers=[LogsHandler(url, source="program")])
    for number in range(3):
        _log.info("line %d", number)
    print(time.monotonic())


def raises(url: str) -> None:
    """Log a line, and end with an exception."""
    logging.basicConfig(handlers=[LogsHandler(url, source="program")])
    _log.error("last words")
    raise SystemExit(3)


def forks(url: str) -> None:
    """Log in the parent, in a forked child, and in a child of multiprocessing, while the others run."""
    # From Python 3.12 on, Python warns of a fork in a process with threads. The handler's thread is what this tests.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded", DeprecationWarning)
    handler = LogsHandler(url, source="program")
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    _log.info("parent before")
    child = os.fork()
    if child == 0:
        _log.info("child of os")
        handler.flush()
        os._exit(0)
    os.waitpid(child, 0)
    process = multiprocessing.get_context("fork").Process(target=_log.info, args=("child of multiprocessing",))
    process.start()
    process.join()
    _log.info("parent after")


def interrupted(url: str) -> None:
    """Log in a signal handler that interrupts logging 2,000 times a second."""
    handler = LogsHandler(url, source="program")
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    interrupts = 0

    def interrupt(*_: object) -> None:
        nonlocal interrupts
        interrupts += 1
        _log.info("signal")

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    count = 0
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        _log.info("plain")
        count += 1
        if count % 1000 == 0:
            handler.flush()
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(count, interrupts)


if __name__ == "__main__":
    {each.__name__: each for each in (lines, raises, forks, interrupted)}[sys.argv[1]](sys.argv[2])
