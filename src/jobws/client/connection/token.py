"""The token that opens a bridge: a text, or a function that gets one whenever it is needed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from jobws.errors import ClientError

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]


class Credentials:
    """What a client shows.

    Args:
        token: A text; a function, plain or async, that returns one; None: nothing. A plain function must not block.
    """

    def __init__(self, token: Token | None) -> None:
        self._token = token

    @property
    def renewable(self) -> bool:
        """Whether asking again can give another token."""
        return callable(self._token)

    async def token(self) -> str | None:
        """The token to show now; None: none.

        Raises:
            ClientError: The function failed, or what it gave can be no token.
        """
        token = self._token
        if callable(token):
            try:
                given = token()
                token = await given if inspect.isawaitable(given) else given
            except Exception as error:
                raise ClientError(f"the function that gets the token failed: {error!r}") from error
        if token is None:
            return None
        # It travels in a header.
        if not (token and token.isascii() and token.isprintable() and " " not in token):
            raise ClientError("a token must be printable ASCII without spaces")
        return token

    async def headers(self) -> dict[str, str]:
        """The header that carries the token; none without one. Raises what `token` raises."""
        token = await self.token()
        return {} if token is None else {"Authorization": f"Bearer {token}"}
