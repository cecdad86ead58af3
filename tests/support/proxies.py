"""Runs nginx and HAProxy, with a configuration that a test writes or that a document prints."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from tests.support import EVENTUALLY_SECONDS, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


TEMPORARY: Final = "client_body_temp_path temp/body;" + "".join(
    f"{each}_temp_path temp/{each};" for each in ("proxy", "fastcgi", "uwsgi", "scgi")
)
"""What nginx's configuration says in `http` so that nothing is written outside the folder."""


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
    with _running([program, "-p", str(folder), "-c", "nginx.conf"], configuration):
        yield


@contextmanager
def haproxy(folder: Path, configuration: str) -> Iterator[None]:
    """Run HAProxy until the end of the context. It reads its configuration from a file in this folder."""
    program = require("haproxy", "/usr/sbin/haproxy")
    (folder / "haproxy.cfg").write_text(configuration)
    with _running([program, "-db", "-f", str(folder / "haproxy.cfg")], configuration):
        yield


@contextmanager
def _running(command: list[str], configuration: str) -> Iterator[None]:
    """Run a program that listens on one port of 127.0.0.1, after `listen` or `bind`. Yield when it does."""
    (port,) = set(re.findall(r"\b(?:listen|bind) 127\.0\.0\.1:(\d+)", configuration))
    with subprocess.Popen(command) as process:
        try:
            deadline = time.monotonic() + EVENTUALLY_SECONDS
            while not _listens(int(port)):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def changed(text: str, changes: Mapping[str, str]) -> str:
    """Return a configuration with other ports or files. Each text that is replaced must occur once."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def ask(url: str, *headers: tuple[str, str]) -> tuple[int, str]:
    """Send a GET. Return the status and the body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
