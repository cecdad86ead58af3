"""What the demo's processors share: errors, progress, log messages, and the check of directories that jobs name.

A processor is the function that does the jobs of one queue.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, TypeAlias

from jobws.errors import JobwsError

Progress: TypeAlias = Callable[[float | dict[str, object]], None]
"""Reports a job's progress: a percentage or an object. Blocks until Redis has it. Raises if the worker stops."""

JsonObject: TypeAlias = dict[str, object]

SOURCE: Final = "worker"
"""The source of the worker's log lines."""
STARTED: Final = "job started"
COMPLETED: Final = "job completed"
FAILED: Final = "job failed"

IGNORED_DIRECTORIES: Final = (
    ".*",
    "venv",
    "node_modules",
    "bower_components",
    "dist",
    "build",
    "target",
    "vendor",
    "__pycache__",
)
"""Patterns (`fnmatch`) of directory names. The files there were written by tools, and say nothing about the project."""


def is_ignored(directory: str) -> bool:
    """Whether a directory with this name is one of `IGNORED_DIRECTORIES`."""
    return any(fnmatch(directory, pattern) for pattern in IGNORED_DIRECTORIES)


class JobError(JobwsError, ValueError):
    """A job cannot be done. The message becomes BullMQ's `failedReason`, for the person who sent the job."""


def directory_below(root: Path, path: object) -> Path:
    """Return the directory that a job names, with all links resolved.

    Args:
        root: The directory that the job may read.
        path: A directory relative to `root`. An absolute path must be in `root`.

    Raises:
        JobError: The path is not a string, does not exist, is not a directory, or is outside of `root`, also through a
            link.
    """
    if not isinstance(path, str):
        raise JobError('`path` must be a string, a directory below the worker\'s root: {"path": "."}')
    try:
        # Not Path.resolve(), which raises for a circle of links before Python 3.13.
        directory = Path(os.path.realpath(root / path))
        inside, exists = directory.is_relative_to(root.resolve()), directory.is_dir()
    except (OSError, ValueError) as error:  # the name is too long, or contains a null character
        raise JobError(f"{path!r} is no path: {error}") from error
    if not inside:
        raise JobError(f"{path} lies outside of the worker's root")
    if not exists:
        raise JobError(f"{path} is no directory below the worker's root")
    return directory
