"""Runs `jobws` commands as a user does: with output as text, and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys

import anyio.to_thread

from tests.support.started import PIPE, Started


class Command:
    """`jobws …` as a process, with pipes for its output, UTC as time zone, and only the settings in `environment`."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBWS_")}
        env = {**kept, "TZ": "UTC", **(environment or {})}
        self.process: subprocess.Popen[str] | Started
        if any(name.startswith("PYTHON") for name in environment or {}):  # Python reads these only at its start
            command = [sys.executable, "-m", "jobws", *arguments]
            self.process = subprocess.Popen(command, env=env, stdout=PIPE, stderr=PIPE, text=True)
        else:
            self.process = Started("jobws", *arguments, env=env, stdout=PIPE, stderr=PIPE)

    async def line(self) -> str:
        """Return the next line of its standard output."""
        assert self.process.stdout is not None
        return (await anyio.to_thread.run_sync(self.process.stdout.readline)).rstrip("\n")

    async def end(self) -> tuple[int, str, str]:
        """Wait until the command has ended. Return its exit code, and the rest of standard output and standard
        error.
        """
        out, err = await anyio.to_thread.run_sync(self.process.communicate)
        return self.process.wait(), out, err


def jobws(*arguments: str, url: str) -> tuple[int, str, str]:
    """Run a command. Return its exit code, standard output and standard error.

    The environment names the bridge.
    """
    process = Started("jobws", *arguments, env={**os.environ, "JOBWS_URL": url}, stdout=PIPE, stderr=PIPE)
    out, err = process.communicate()
    return process.wait(), out, err
