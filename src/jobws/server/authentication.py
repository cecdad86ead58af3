"""How the endpoints verify and sign tokens.

`KeyAuthentication`, `NoKeys`, `Hook`, `OpaqueTokens` and `Authorized` implement `Authentication`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jobws.access.carrier import Carried
    from jobws.access.identity import Identity


Sign: TypeAlias = "Callable[[dict[str, Any]], str]"
"""Returns a signed token with these claims."""


class Authentication(Protocol):
    """Verifies tokens while the bridge runs."""

    @property
    def required(self) -> bool:
        """Whether clients must say who they are. If not, since the bridge has no keys, every caller is `ANYONE`."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each file or URL of keys that cannot be read now. What it held before still counts."""
        ...

    @property
    def sign(self) -> Sign | None:
        """What signs new tokens; None if there is no key for that."""
        ...

    async def of_request(self, headers: Mapping[str, str], carried: Carried | None) -> Identity | None:
        """Return who sends a request, or None if nothing in the request says so.

        Args:
            headers: The headers of the request.
            carried: The token that the request brings; None for no token.

        Raises:
            TokenRefusedError: The token is refused.
        """
        ...

    async def identify(self, carried: Carried) -> Identity:
        """Return who holds a token.

        Raises:
            TokenRefusedError: The token is refused.
        """
        ...

    def is_current(self, identity: Identity) -> bool:
        """Whether the identity's token would still be accepted if it came now. Its expiry is not checked."""
        ...
