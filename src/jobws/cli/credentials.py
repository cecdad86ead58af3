"""Where the commands find the bridge, and the token for it: from a flag, a file or the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from cyclopts import Parameter

from jobws.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_URL: Final = "http://127.0.0.1:8787"
Url: TypeAlias = Annotated[str, Parameter(env_var="JOBWS_URL")]


@dataclass(frozen=True, kw_only=True)
class TokenFlags:
    """Where the token for the bridge is. Without either flag: in $JOBWS_TOKEN, or in the file $JOBWS_TOKEN_FILE."""

    token: str | None = field(default=None, repr=False)
    """The token for the bridge; every user of this machine can read it in the list of processes."""
    token_file: Path | None = None
    """The file with the token for the bridge. It is read again when the bridge asks for a new token."""

    def read(self) -> Callable[[], str] | str | None:
        """Return the token, a function that reads it from its file, or None for no token.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        if self.token is not None:
            return self.token
        file, given = self.token_file, os.environ.get("JOBWS_TOKEN")
        if file is None and given is not None:
            return given
        if file is None and "JOBWS_TOKEN_FILE" in os.environ:
            file = Path(os.environ["JOBWS_TOKEN_FILE"])
        if file is None:
            return None
        path = file
        _content(path)
        return lambda: _content(path)

    def headers(self) -> dict[str, str]:
        """Return the header that carries the token, or {} without a token.

        Raises:
            ConfigurationError: The file cannot be read, or the token cannot stand in a header.
        """
        found = self.read()
        token = found() if callable(found) else found
        if token is None:
            return {}
        if not (token and token.isascii() and token.isprintable() and " " not in token):
            raise ConfigurationError("the token must be printable ASCII without spaces")
        return {"Authorization": f"Bearer {token}"}


Credentials: TypeAlias = Annotated[TokenFlags | None, Parameter(name="*")]


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} holds no token: it is not ASCII") from None
