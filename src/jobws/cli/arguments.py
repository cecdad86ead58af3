"""What is checked of arguments before a command runs, and what a command needs installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from jobws.errors import ConfigurationError, MissingExtraError, RequestError
from jobws.protocol.codec import decode_json
from jobws.protocol.identifiers import is_text

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse_json(name: str, text: str) -> object:
    """The JSON value of an argument. Raises ConfigurationError."""
    try:
        return decode_json(text, subject=name)
    except RequestError as error:
        raise ConfigurationError(error.message) from None


def json_object(name: str, text: str) -> dict[str, object]:
    """The JSON object of an argument. Raises ConfigurationError."""
    value = parse_json(name, text)
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} must be a JSON object")
    return value


def check_text(**values: str | None) -> None:
    """Refuse what the shell passed on though it is no UTF-8."""
    for name, value in values.items():
        if value is not None and not is_text(value):
            raise ConfigurationError(f"{name} is no UTF-8 text")


@contextmanager
def needs_extra(extra: str, purpose: str) -> Iterator[None]:
    """Imports that only work with an extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra, purpose) from error
