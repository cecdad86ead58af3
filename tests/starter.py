"""The process from which `tests.support.started` forks others: `python -m tests.starter SOCKET`.

It imports nothing of pytest, so that the programs run as they do elsewhere.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import sys
import time
from typing import Any, Final

IMPORTED: Final = ("jobws.cli.run", "jobws.server.serve", "bullmq", "anyio.streams.tls", "encodings.idna")
MESSAGE_BYTES: Final = 1 << 20


def _serve(control: socket.socket) -> dict[str, Any]:
    """Fork a process for each message. In such a process, return the message."""
    while True:
        message, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 4)
        if not message:
            sys.exit()
        if not os.fork():
            control.close()
            _keep(fds)
            what: dict[str, Any] = json.loads(message)
            return what
        for each in fds:
            os.close(each)
        _reap()


def _keep(fds: list[int]) -> None:
    """Fork once more, and return in the new process.

    In this one, write the new process's id, wait for it, and write its exit code.
    """
    status, *standard = fds
    pid = os.fork()
    if pid:
        for each in standard:
            os.close(each)
        os.write(status, f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(status, f"{code}\n".encode())
        os._exit(0)
    os.close(status)
    for number, each in enumerate(standard):
        os.dup2(each, number)
        os.close(each)


def _reap() -> None:
    """Reap the processes that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    what = _serve(socket.socket(fileno=int(sys.argv[1])))
    os.environ.clear()
    os.environ.update(what["env"])
    time.tzset()
    # Again, since Python made these objects for the standard files of the first process.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = [what["module"], *what["arguments"]]
    runpy.run_module(what["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
