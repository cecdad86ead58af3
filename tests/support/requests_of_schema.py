"""Runs schemathesis, which sends the requests that a bridge's `/openapi.json` allows, and some that it forbids."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# `GET /events` has no end; test_job_events.py tests it. `POST /events` has one with `wait`.
_STREAMS: Final = """
[[operations]]
include-name = "GET /events"
enabled = false

[[operations]]
include-name = "POST /events"
parameters = { "query.wait" = 0.05 }
"""


def examine(
    url: str, token: str | None, directory: Path, *, seed: int = 1, examples: int = 20
) -> subprocess.CompletedProcess[str]:
    """Send requests, and check that every answer is documented and that none is a server error.

    Args:
        url: The bridge's base URL.
        token: The token of the client; None for no token.
        directory: Where schemathesis writes its files.
        seed: Chooses the requests.
        examples: How many requests to send for each operation, about.
    """
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        *(() if token is None else ("--header", f"Authorization: Bearer {token}")),
        *("--seed", str(seed), "--max-examples", str(examples), "--no-color"),
        *("--request-timeout", "60"),
        # In JSON Schema, 5.0 is an integer, and some integers are no job ids (protocol.md, J2). The bridge refuses
        # both. Without a token it refuses every method, whether or not the path takes it.
        *("--exclude-checks", "positive_data_acceptance" + (",unsupported_method" if token is None else "")),
    ]
    (directory / "schemathesis.toml").write_text(_STREAMS)
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)
