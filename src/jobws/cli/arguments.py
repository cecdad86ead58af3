"""Checks arguments before a command runs, and reports extras that a command needs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobws.errors import ConfigurationError, MissingExtraError, RequestError
from jobws.protocol.codec import decode_json
from jobws.protocol.identifiers import is_text

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse_json(name: str, text: str) -> object:
    """Return the JSON value of an argument. `name` is the argument's name.

    Raises:
        ConfigurationError: `text` is not JSON, or is nested too deep.
    """
    try:
        return decode_json(text, subject=name)
    except RequestError as error:
        raise ConfigurationError(error.message) from None


def json_object(name: str, text: str) -> dict[str, object]:
    """Return the JSON object of an argument. `name` is the argument's name.

    Raises:
        ConfigurationError: `text` is not a JSON object.
    """
    value = parse_json(name, text)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} must be a JSON object")
    return value


def check_text(**values: str | None) -> None:
    """Check that the values of arguments are valid UTF-8, which a shell does not do.

    Raises:
        ConfigurationError: A value is not valid UTF-8.
    """
    for name, value in values.items():
        if value is not None and not is_text(value):
            raise ConfigurationError(f"{name} is no UTF-8 text")


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Run imports that need an extra.

    Raises:
        MissingExtraError: A module is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, purpose) from error
