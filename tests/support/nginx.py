"""Runs nginx, with a configuration that a test writes."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@contextmanager
def nginx(folder: Path, configuration: str) -> Iterator[None]:
    """Run nginx in a folder until the end of the context.

    Paths in the configuration start at this folder. The configuration must contain `events {}` once.
    """
    program = require("nginx", "/usr/sbin/nginx")
    assert configuration.count("events {}") == 1
    if os.geteuid() == 0:  # nginx would start its workers as a user who cannot read the folder
        configuration = configuration.replace("events {}", "user root;\nevents {}")
    (folder / "nginx.conf").write_text(configuration)
    (folder / "temp").mkdir()
    with subprocess.Popen([program, "-p", str(folder), "-c", "nginx.conf"]) as process:
        try:
            yield
        finally:
            process.terminate()


def changed(text: str, changes: Mapping[str, str]) -> str:
    """Return a configuration with other ports or files. Each text that is replaced must occur once."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def ask(url: str, *headers: tuple[str, str]) -> tuple[int, str]:
    """Send a GET. Return the status and the body; the status 0 means that nobody listens."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:
        return 0, ""
