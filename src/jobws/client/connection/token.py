"""The token for the bridge: a string, or a function that returns one when a token is needed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from jobws.errors import ClientError

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]


class Credentials:
    """The token that a client sends.

    Args:
        token: A string, a plain or async function that returns one, or None for no token. A plain one must not block.
    """

    def __init__(self, token: Token | None) -> None:
        self._token = token

    @property
    def renewable(self) -> bool:
        """False if the token is a string, which cannot be renewed after it expires. True for a function or no token."""
        return not isinstance(self._token, str)

    async def token(self) -> str | None:
        """Return the token to send now, or None. Raises ClientError if the function fails or the token is malformed."""
        token = self._token
        if callable(token):
            try:
                given = token()
                token = await given if inspect.isawaitable(given) else given
            except Exception as error:
                raise ClientError(f"the function that gets the token failed: {error!r}") from error
        if token is None:
            return None
        # The token is sent in a header.
        if not (token and token.isascii() and token.isprintable() and " " not in token):
            raise ClientError("a token must be printable ASCII without spaces")
        return token

    async def headers(self) -> dict[str, str]:
        """Return the header with the token, or {} without a token. Raises what `token` raises."""
        token = await self.token()
        return {} if token is None else {"Authorization": f"Bearer {token}"}
