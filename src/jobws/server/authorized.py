"""The authentication of a bridge with an authorizer: who a client is comes from keys or a hook, its rights do not."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from jobws.access.asked import AskedRights
from jobws.access.carrier import check_text
from jobws.access.identity import Identity, Rights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobws.access.carrier import Carried
    from jobws.server.authentication import Authentication, Sign
    from jobws.server.gate import Gate


class OpaqueTokens:
    """The authentication of a bridge with an authorizer and without keys. Implements `Authentication`.

    A token is any text. What it is worth only the authorizer knows.
    """

    required = True
    problems: tuple[str, ...] = ()
    sign: Sign | None = None

    async def of_request(self, _headers: Mapping[str, str], carried: Carried | None) -> Identity | None:
        """Return the identity of the token, or None if there is none. Raises TokenRefusedError."""
        return None if carried is None else await self.identify(carried)

    async def identify(self, carried: Carried) -> Identity:
        """Return an identity that has only the token's hash. Raises TokenRefusedError if the text is too long."""
        check_text(carried.token, carried.carrier)
        digest = sha256(carried.token.encode()).digest()
        return Identity(
            iss=None, sub=None, rights=Rights(), expires_ms=None, token_hash=digest, address=carried.address
        )

    def is_current(self, _identity: Identity) -> bool:
        """Return True: the authorizer is asked again and again."""
        return True


class Authorized:
    """Verifies tokens as another authentication does, and gives their holders the rights that the authorizer decides.

    Args:
        verified: Verifies the tokens.
        gate: Asks the authorizer.
    """

    required = True

    def __init__(self, verified: Authentication, gate: Gate) -> None:
        self._verified = verified
        self._gate = gate

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each file or URL of keys that cannot be read now."""
        return self._verified.problems

    @property
    def sign(self) -> Sign | None:
        """What signs new tokens; None if there is no key for that."""
        return self._verified.sign

    async def of_request(self, headers: Mapping[str, str], carried: Carried | None) -> Identity | None:
        """Return who sends a request, or None if nothing in the request says so. Raises TokenRefusedError."""
        identity = await self._verified.of_request(headers, carried)
        return None if identity is None else self._gate.of(identity, None if carried is None else carried.token)

    async def identify(self, carried: Carried) -> Identity:
        """Return who holds the token `carried`, with rights that the authorizer decides.

        Raises:
            TokenRefusedError: The token is not accepted.
        """
        return self._gate.of(await self._verified.identify(carried), carried.token)

    def is_current(self, identity: Identity) -> bool:
        """Whether the identity's token would still be accepted if it came now. Its expiry is not checked."""
        rights = identity.rights
        return self._verified.is_current(rights.subject.identity if isinstance(rights, AskedRights) else identity)
