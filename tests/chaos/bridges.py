"""The bridge under test, jobws or a Socket.IO bridge, as a process that ends and starts again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import urllib.request
from collections import Counter, deque
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from jobws.embedded import free_port
from tests.bench.servers import OPPONENT
from tests.support import EVENTUALLY_SECONDS
from tests.support.started import PIPE, STDOUT, Started

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["jobws", "socketio"]
FAMILIES: Final = ("entries", "deliveries", "held", "replayed", "from_hash", "gaps")
# Short, so that ends without an event are found soon, and so that an outcome that is sent twice would show.
SWEEP_SECONDS: Final = 1.0
SOON: Final = ("--sweep-seconds", str(SWEEP_SECONDS))
# On a busy machine. On an idle one, a start takes less than a second.
START_SECONDS: Final = 60.0
TRACEBACK_LINES: Final = 40
SUSPICIOUS: Final = ("Traceback", "Error:", "was skipped", "failed to", " ERROR ")


class BridgeAtPort:
    """A bridge that can end and start again. Use it as a context manager. `start` starts the first process.

    Args:
        kind: Whether the bridge is jobws or the Socket.IO bridge.
        redis_url: The URL of the Redis that it reads.
        origin: A further origin whose pages may connect.
        options: Further options of `jobws serve`.

    Attributes:
        port: The port, which stays the same.
        counts: The bridges' metrics, added up. They are read before a bridge ends, so those of killed bridges are
            missing.
        lives: How many processes were started.
        trouble: Lines of the logs that should not be there.
    """

    def __init__(self, kind: Kind, redis_url: str, origin: str = "", *, options: Sequence[str] = SOON) -> None:
        self.kind = kind
        self.counts: Counter[str] = Counter()
        self.lives = 0
        self.trouble: list[str] = []
        self._said: deque[str] = deque(maxlen=TRACEBACK_LINES)
        self._redis_url = redis_url
        self._origin = origin
        self._options = options
        self._process: subprocess.Popen[str] | Started | None = None
        self._log: threading.Thread | None = None
        self.port = free_port()

    def __enter__(self) -> BridgeAtPort:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def start(self) -> None:
        """Start a process, and wait until it accepts connections."""
        started = threading.Event()
        self.lives += 1
        env = {**os.environ, **self._environment()}
        if self.kind == "socketio":
            command = ("node", "bridge.mjs")
            self._process = subprocess.Popen(command, cwd=OPPONENT, env=env, stdout=PIPE, stderr=STDOUT, text=True)
        else:
            where = ("--port", str(self.port), "--redis", self._redis_url)
            origins = ("--allow-origin", self._origin) if self._origin else ()
            arguments = ("jobws", "serve", *where, *origins, *self._options)
            self._process = Started(*arguments, env=env, stdout=PIPE, stderr=STDOUT)
        self._log = threading.Thread(target=self._read_log, args=(self._process, started))
        self._log.start()
        if not started.wait(START_SECONDS) or self._process.poll() is not None:
            raise RuntimeError(f"the bridge does not start: {list(self._said)}")

    def end(self, number: signal.Signals) -> None:
        """End the process with this signal, and keep its metrics. Idempotent."""
        process, self._process = self._process, None
        if process is None or self._log is None:
            return
        self._scrape()
        process.send_signal(number)
        try:
            process.wait(EVENTUALLY_SECONDS)
        except subprocess.TimeoutExpired:
            self.trouble.append(f"the bridge did not end on {number!r}")
            process.kill()
            process.wait()
        if number == signal.SIGTERM and process.returncode and self.kind == "jobws":
            self.trouble.append(f"the bridge ended with {process.returncode}")
        self._log.join()

    def _environment(self) -> dict[str, str]:
        if self.kind == "jobws":
            return {}
        parts = urlsplit(self._redis_url)
        return {
            **{"PORT": str(self.port), "NODE_ENV": "production"},
            **{"REDIS_PORT": str(parts.port), "REDIS_PASSWORD": parts.password or "", "ORIGIN": self._origin},
        }

    def _read_log(self, process: subprocess.Popen[str] | Started, started: threading.Event) -> None:
        assert process.stdout is not None
        suspicious = 0
        with process.stdout:
            for line in process.stdout:
                self._said.append(line)
                if " serves http" in line or line == "ready\n":
                    started.set()
                if self.kind == "jobws" and any(part in line for part in SUSPICIOUS):
                    suspicious = TRACEBACK_LINES
                if suspicious:
                    suspicious -= 1
                    self.trouble.append(line.rstrip())
        started.set()

    def _scrape(self) -> None:
        if self.kind != "jobws":
            return
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/metrics", timeout=EVENTUALLY_SECONDS
            ) as response:
                text = response.read().decode()
        except OSError as error:
            self.trouble.append(f"no metrics: {error}")
            return
        for family in text_string_to_metric_families(text):
            name = family.name.removeprefix("jobws_")
            if name in FAMILIES:
                self.counts[name] += int(sum(sample.value for sample in family.samples))
