"""A command as its user meets it: lines, and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys

import anyio.to_thread


class Command:
    """`jobws …` as a process: no terminal as output, UTC as time zone, and no settings but those in `environment`."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBWS_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobws", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, "TZ": "UTC", **(environment or {})},
        )

    async def line(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        return (await anyio.to_thread.run_sync(self.process.stdout.readline)).rstrip("\n")

    async def end(self) -> tuple[int, str, str]:
        """Exit code, and the rest of both outputs."""
        out, err = await anyio.to_thread.run_sync(self.process.communicate)
        return self.process.returncode, out, err
