"""Certificates that tests sign themselves. Chromium accepts them (`tests.support.browser`)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support import require

if TYPE_CHECKING:
    from pathlib import Path


def certify(folder: Path, name: str) -> None:
    """Make a certificate, the file `NAME.pem` in a folder, and its key, `NAME.key`."""
    names = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
    command = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
