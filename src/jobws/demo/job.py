"""What the demo's parts share: how a job fails, tells its progress, is logged, and which directory it may read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from jobws.errors import JobwsError

Progress: TypeAlias = Callable[[float | dict[str, object]], None]
"""Tells how far a job is: a percentage, or an object. Blocks until Redis has it; raises once the worker stops."""

JsonObject: TypeAlias = dict[str, object]

SOURCE: Final = "worker"
"""Who logs."""
STARTED: Final = "job started"
COMPLETED: Final = "job completed"
FAILED: Final = "job failed"

# What tools put into a directory: nobody wrote it, so it says nothing about the project.
IGNORED_DIRECTORIES: Final = frozenset(
    {
        *(".git", ".hg", ".svn", ".tox", ".nox", ".venv", "venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"),
        *("node_modules", "bower_components", "dist", "build", "target", "vendor", "__pycache__", ".eggs", ".next"),
    }
)


class JobError(JobwsError, ValueError):
    """A job cannot be done. The sentence becomes BullMQ's `failedReason`, which the person who sent the job reads."""


def directory_below(root: Path, path: object) -> Path:
    """The directory that a job names, with every link resolved.

    Args:
        root: What the job may read.
        path: A directory relative to `root`; an absolute one must lie in it.

    Raises:
        JobError: It is no string, does not exist, is no directory, or leaves `root` (also through a link).
    """
    if not isinstance(path, str):
        raise JobError('`path` must be a string, a directory below the worker\'s root: {"path": "."}')
    try:
        # Path.resolve() raises for links in a circle, but from Python 3.13 on it takes them for a path, as this does.
        directory = Path(os.path.realpath(root / path))
        inside, exists = directory.is_relative_to(root.resolve()), directory.is_dir()
    except (OSError, ValueError) as error:  # a name too long, a null character
        raise JobError(f"{path!r} is no path: {error}") from error
    if not inside:
        raise JobError(f"{path} lies outside of the worker's root")
    if not exists:
        raise JobError(f"{path} is no directory below the worker's root")
    return directory
