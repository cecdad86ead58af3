"""Checks the origins of `--allow-origin`: `*` alone is refused, and a `*` is taken only for an origin's first label.

`moz-extension://*` is taken, too. Origins without a `*` are not checked.
"""

from __future__ import annotations

import re

from jobws.errors import ConfigurationError

ANY_FIREFOX_EXTENSION = "moz-extension://*"
"""In Firefox, an extension has a different origin in every profile."""
_PATTERN = re.compile(r"https?://\*(\.[A-Za-z0-9-]+)+(:\d+)?", re.ASCII)


def check_origins(allowed: tuple[str, ...]) -> None:
    """Check the origins of `--allow-origin`.

    Raises:
        ConfigurationError: One of them would let in every page, or has a `*` in another place than the first label.
    """
    if "*" in allowed:
        raise ConfigurationError("--allow-origin takes the origins one by one: '*' would let in every page")
    for each in allowed:
        if "*" in each and each != ANY_FIREFOX_EXTENSION and not _PATTERN.fullmatch(each):
            raise ConfigurationError(
                f"--allow-origin {each}: a * can only stand for the first label, as in https://*.example.com"
            )
