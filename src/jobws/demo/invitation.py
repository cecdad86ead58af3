"""What the demo prints for its viewer: where its page is, and commands that work as they stand."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def greet(url: str, console: Console) -> None:
    """Print where the page is, before all that the demo does. `url` is the bridge's."""
    _print([f"{url}/ shows all of this as it changes: open it in a browser.", ""], console)


def invite(url: str, redis_url: str, console: Console) -> None:
    """Print the page's address, those of the bridge and of Redis, and commands to try. `url` is the bridge's."""
    jobws = program()
    lines = [
        "",
        "The demo stays up; Ctrl-C ends it.",
        f"  page     {url}/",
        f"  bridge   {url}",
        f"  Redis    {redis_url}",
        f'  submit   {jobws} submit techstack \'{{"path": "."}}\' --url {url}',
        f"  follow   {jobws} watch ID --url {url}",
        f"  logs     {jobws} logs -f --url {url}",
        "  console  of the page, where these lines print a queue's messages:",
        f"           socket = new WebSocket('{url.replace('http', 'ws', 1)}/ws')",
        "           socket.onmessage = ({ data }) => console.log(JSON.parse(data))",
        "           socket.onopen = () => socket.send(JSON.stringify({ event: 'subscribe-queue', data: 'techstack' }))",
    ]
    _print(lines, console)


def program() -> str:
    """Return how a shell in this folder starts the `jobws` that runs now.

    It may not be on PATH, as in the `.venv` that `make demo` makes.
    """
    started = Path(sys.argv[0])
    if started.name != "jobws":  # python -m jobws
        return f"{shlex.quote(sys.executable)} -m jobws"
    found = shutil.which("jobws")
    return "jobws" if found is not None and started.exists() and started.samefile(found) else shlex.quote(sys.argv[0])


def _print(lines: list[str], console: Console) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
