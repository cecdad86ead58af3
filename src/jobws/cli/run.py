"""Runs one command, prints an error as one line on standard error, and returns the exit code."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Final

import cyclopts

from jobws.cli.commands import app
from jobws.errors import ConfigurationError, JobwsError, RefusedError, ResponseError, TokenRefusedError

USAGE: Final = 2
UNREACHABLE: Final = 3
REFUSED: Final = 6
INTERRUPTED: Final = 130
# `rich` may notice the broken pipe first, and ends with this exit code, too.
BROKEN_PIPE: Final = 1


def run(arguments: list[str] | None = None) -> int:
    """Run one command, and return its exit code. `arguments` None means the arguments of the process."""
    if isinstance(sys.stdout, TextIOWrapper):  # pipes on Windows, and LC_ALL=C, can encode few characters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result: object = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the program that reads our output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python does not complain at its end
        return BROKEN_PIPE
    except (cyclopts.CycloptsError, JobwsError) as error:
        print(f"jobws: {error}", file=sys.stderr)
        return _exit_code(error)
    return result if isinstance(result, int) else 0


def _exit_code(error: Exception) -> int:
    match error:
        case ResponseError(code="unavailable"):
            return UNREACHABLE
        case ConfigurationError() | ResponseError() | cyclopts.CycloptsError():
            return USAGE
        case RefusedError() | TokenRefusedError():
            return REFUSED
        case _:
            return UNREACHABLE
