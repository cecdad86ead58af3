"""Bridges on the demo's Redis, beside its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def bridge(redis_url: str, *arguments: str, **environment: str) -> Iterator[str]:
    """Run `jobws serve` with these arguments and variables until the end of the context. Yield its URL."""
    command = [sys.executable, "-m", "jobws", "serve", "--redis", redis_url, "--queues", "*", "--port", "0", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if " serves http" in line)
        # A full pipe would stop the bridge.
        threading.Thread(target=lambda: deque(process.stderr or (), 0), daemon=True).start()
        yield next(word for word in line.split() if word.startswith("http")).rstrip(",;")
    finally:
        process.terminate()
        process.wait()


def allowing(*origins: str) -> list[str]:
    """Return the arguments with which a bridge allows pages of these origins."""
    return [each for origin in origins for each in ("--allow-origin", origin)]
