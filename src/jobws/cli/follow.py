"""Displays the log for `jobws logs`, with colours on a terminal and without them elsewhere."""

from __future__ import annotations

from datetime import datetime
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Final

import msgspec
from rich.text import Text

from jobws.cli.watch import printable
from jobws.client import connect_logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from jobws.client import LogLine
    from jobws.client.connection.token import Token

_STYLES: Final = {"debug": "dim", "info": "green", "warning": "yellow", "error": "red", "critical": "bold red"}
_LEVEL_WIDTH: Final = 8
# The fields in which `LogsHandler` writes texts of many lines. They are printed below the message.
_BELOW: Final = ("traceback", "stack")
_INDENT: Final = "    "


async def follow_logs(
    url: str,
    *,
    level: str | None,
    source: Sequence[str],
    queue: Sequence[str],
    job_id: Sequence[str],
    text: str | None,
    tail: int,
    follow: bool,
    json: bool,
    token: Token | None,
    console: Console,
) -> None:
    """Print the last `tail` lines that pass the filters, and with `follow` also new lines, until cancelled.

    Args:
        url: The bridge's base URL.
        level: The lowest level to print; None for all levels.
        source: The programs whose lines to print; empty for all.
        queue: The queues of the lines, as the lines name them; empty for all.
        job_id: The ids of the jobs; empty for all.
        text: A text that the message must contain; None for any message.
        tail: How many of the last lines to print.
        follow: Whether to continue with new lines.
        json: Whether to print each line as a JSON object.
        token: The token for the bridge, as `connect_logs` takes it.
        console: Where to print.

    Raises:
        ClientError: The bridge cannot be reached, or refuses. If the connection is lost later, nothing is raised: it is
            opened again.
    """
    chosen: dict[str, Any] = {
        "level": level,
        "source": source or None,
        "queue": queue or None,
        "job_id": job_id or None,
    }
    async with connect_logs(url, **chosen, text=text, tail=tail, follow=follow, token=token) as lines:
        async for line in lines:
            if json:
                text = msgspec.json.encode(line).decode()
                # A console with another encoding than UTF-8 gets `\u` escapes.
                console.file.write((text if console.encoding.startswith("utf") else dumps(loads(text))) + "\n")
                console.file.flush()
            else:
                console.print(shown(line), soft_wrap=True)


def shown(line: LogLine) -> Text:
    """Return a line of the log as text: local time, level, source, job, message and fields.

    Further lines of the message, and the fields `traceback` and `stack`, follow below. The field `logger` is left out,
    since it tells most users no more than the source. `--json` prints it.
    """
    style = _STYLES.get(line.level, "")
    first, *rest = line.message.split("\n")
    fields = {name: value for name, value in (line.fields or {}).items() if name != "logger"}
    below = [part for name in _BELOW for part in _lines(fields.pop(name, None))]
    text = Text()
    text.append(_local(line.time), "dim")
    text.append(f" {line.level.upper():<{_LEVEL_WIDTH}} ", style)
    text.append(printable(line.source), "cyan")
    if about := "/".join(part for part in (line.queue, line.job_id) if part is not None):
        text.append(f" {printable(about)}", "magenta")
    text.append(f" {printable(first)}", style if line.level in ("error", "critical") or line.dropped else "")
    for name, value in fields.items():
        text.append(printable(f" {name}={_value(value)}"), "dim")
    for part in rest:
        text.append(f"\n{_INDENT}{printable(part)}")
    for part in below:
        text.append(f"\n{_INDENT}{printable(part)}", "dim")
    return text


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield from value.rstrip("\n").split("\n")


def _value(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _local(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    except (OverflowError, ValueError, OSError):  # programs may write any number
        return str(milliseconds)
