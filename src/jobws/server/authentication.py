"""What the endpoints need of the keys: verifies a token, and says whether an identity is still accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jobws.access.carrier import Carried
    from jobws.access.identity import Identity


class Authentication(Protocol):
    """What verifies tokens while the bridge runs."""

    @property
    def required(self) -> bool:
        """Whether the bridge has keys. Without keys every caller is `ANYONE`."""
        ...

    async def identify(self, carried: Carried) -> Identity:
        """Return who holds a token.

        Raises:
            TokenRefusedError: The token is refused.
        """
        ...

    def is_current(self, identity: Identity) -> bool:
        """Whether the identity's token, its key and its `jti` are still accepted, apart from the token's time."""
        ...
