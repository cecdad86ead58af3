"""Bridges on the demo's Redis, beside its own, and how output of processes is read away."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def drained(process: subprocess.Popen[str], pipe: IO[str]) -> Iterator[None]:
    """Read a pipe to its end, since a full one would stop the process. End the process at the end of the context."""
    rest = threading.Thread(target=deque, args=(pipe, 0))
    rest.start()
    try:
        yield
    finally:
        process.terminate()
        rest.join()


@contextmanager
def bridge(redis_url: str, *arguments: str, queues: str = "*", **environment: str) -> Iterator[str]:
    """Run `jobws serve` with these arguments and variables until the end of the context. Yield its URL."""
    command = [sys.executable, "-m", "jobws", "serve", "--redis", redis_url, "--queues", queues, "--port", "0"]
    command += arguments
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if " serves http" in line)
        with drained(process, process.stderr):
            yield next(word for word in line.split() if word.startswith("http")).rstrip(",;")


def allowing(*origins: str) -> list[str]:
    """Return the arguments with which a bridge allows pages of these origins."""
    return [each for origin in origins for each in ("--allow-origin", origin)]
