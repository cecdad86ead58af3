"""Runs commands as a document or an example prints them."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from tests.support import require

if TYPE_CHECKING:
    from pathlib import Path


def serve_arguments(text: str, folder: Path) -> list[str]:
    """Run the commands `openssl …` of a text in a folder, and return the arguments of the text's `jobws serve`.

    Names of files that are in the folder then have its path.
    """
    require("openssl")
    commands = text.replace("\\\n", "").splitlines()
    for command in commands:
        if command.startswith("openssl "):
            subprocess.run(command, cwd=folder, shell=True, check=True, capture_output=True)
    (serve,) = (shlex.split(each)[2:] for each in commands if each.startswith("jobws serve "))
    return [str(folder / each) if (folder / each).is_file() else each for each in serve]
