"""The program `jobws`, also `python -m jobws`."""

from __future__ import annotations

import sys

from jobws.errors import MissingExtraError


def main() -> None:
    """Run the command line, and exit with its exit code."""
    try:
        from jobws.cli.run import run
    except ModuleNotFoundError as error:
        if error.name not in ("cyclopts", "rich"):
            raise
        print(f"jobws: {MissingExtraError('cli', 'the command line')}", file=sys.stderr)  # noqa: T201 - its only output
        sys.exit(2)
    sys.exit(run())


if __name__ == "__main__":
    main()
