"""Checks the arguments of a command before it runs, and reports missing extras."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobws.errors import ConfigurationError, MissingExtraError, RequestError
from jobws.protocol.codec import decode_json
from jobws.protocol.identifiers import is_text

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse_json(name: str, text: str) -> object:
    """Return the value of an argument that is written as JSON. `name` is the argument's name, for error messages.

    Raises:
        ConfigurationError: `text` is not JSON, or is nested too deep.
    """
    try:
        return decode_json(text, subject=name)
    except RequestError as error:
        raise ConfigurationError(error.message) from None


def json_object(name: str, text: str) -> dict[str, object]:
    """Return the value of an argument that must be a JSON object. `name` is the argument's name, for error messages.

    Raises:
        ConfigurationError: `text` is not a JSON object.
    """
    value = parse_json(name, text)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} must be a JSON object")
    return value


def check_text(**values: str | None) -> None:
    """Check that the values of arguments, given by name, are valid UTF-8 or None. A shell passes any bytes.

    Raises:
        ConfigurationError: A value is not valid UTF-8.
    """
    for name, value in values.items():
        if value is not None and not is_text(value):
            raise ConfigurationError(f"{name} is no UTF-8 text")


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Turn an import error in the `with` block into an error that tells the user to install an extra of jobws.

    Args:
        extra: The name of the extra, such as `serve`.
        purpose: What needs the extra, for the message, such as `jobws serve`.

    Raises:
        MissingExtraError: The block imports a module that is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, purpose) from error
