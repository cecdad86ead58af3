"""Who a client is, and `allows`, the one function that says whether a client may do something."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from jobws.access.scope import Action, parse_scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobws.access.scope import Entry, Place

MAX_SUB_CHARACTERS: Final = 256
Holder: TypeAlias = tuple[str | None, str] | bytes
"""The issuer and `sub` of a token, or the SHA-256 of a token without `sub`."""


class AnyRights(Protocol):
    """What somebody may do: `Rights` by the scope of a token, or `AskedRights` where an authorizer decides."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries of the scope. Empty where an authorizer decides."""
        ...

    def include(self, action: Action, queue: str | None, job_id: str | None) -> bool:
        """Whether the action is allowed. `allows` explains the arguments."""
        ...


class Rights:
    """What the entries of a scope allow together. `include` takes the same time for 1 entry and for 1,000.

    Args:
        entries: The entries of a token's scope. Without an entry nothing is allowed.

    Attributes:
        entries: The same entries without duplicates.
    """

    __slots__ = ("_everywhere", "_places", "entries")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = tuple(dict.fromkeys(entries))
        everywhere: set[Action] = set()
        places: defaultdict[Action, set[Place]] = defaultdict(set)
        for action, place in self.entries:
            if place is None:
                everywhere |= {*Action} if action is Action.ADMIN else {action}
                continue
            places[action].add(place)
            if action is Action.READ_CHILDREN:  # the right to read a job's flow includes the job
                places[Action.READ_JOB].add(place)
        self._everywhere = frozenset(everywhere)
        self._places = dict(places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rights) and set(self.entries) == set(other.entries)

    def __hash__(self) -> int:
        return hash(frozenset(self.entries))

    def __repr__(self) -> str:
        return f"<Rights: {len(self.entries)} entries>"

    def include(self, action: Action, queue: str | None, job_id: str | None) -> bool:
        """Whether the entries allow the action. `allows` explains the arguments."""
        if action in self._everywhere:
            return True
        places = self._places.get(action)
        if places is None:
            return False
        # `read:logs:*` is for lines of every queue, but not for lines that name no queue.
        if queue is None and action is Action.READ_LOGS:
            return False
        return (
            (queue, job_id) in places or (queue, None) in places or (None, job_id) in places or (None, None) in places
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a client is and what it may do, as a token, an authorizer or an application (`of`) says.

    Attributes:
        iss: The token's issuer; None if the token names none.
        sub: The token's holder, 1 to 256 characters; None if the token names none.
        rights: What the client may do.
        expires_ms: When the token expires, in milliseconds since 1970; None for never.
        token_hash: The SHA-256 of the token's text; empty if there is no token.
        key: The fingerprint of the key that verified the token; None for a static token or no token.
        jti: The token's own id, by which it can be revoked; None if it has none.
        address: For a token that only the authorizer can judge, the address from which it came. None for other
            clients, and if addresses have no limits.
    """

    iss: str | None
    sub: str | None
    rights: AnyRights
    expires_ms: int | None
    token_hash: bytes = field(repr=False)
    key: bytes | None = field(default=None, repr=False)
    jti: str | None = None
    address: str | None = None

    @classmethod
    def of(cls, sub: str, scope: str, *, expires_ms: int | None = None) -> Identity:
        """Return the identity of a client that an application has let in by its own means.

        Args:
            sub: Who the client is. Limits count all clients with the same `sub` together.
            scope: What the client may do, as the scope of a token.
            expires_ms: When the client must be let in again, in milliseconds since 1970; None for never.

        Raises:
            TokenRefusedError: The scope is malformed.
        """
        return cls(iss=None, sub=sub, rights=Rights(parse_scope(scope)), expires_ms=expires_ms, token_hash=b"")

    @property
    def holder(self) -> Holder:
        """The issuer and `sub`, or the token's hash if there is no `sub`. Connections are counted by it.

        Other limits are counted by `payer`. `ANYONE`, the caller of a bridge without keys, has neither a `sub` nor a
        token: its holder is empty bytes, and limits do not count it.
        """
        return self.token_hash if self.sub is None else (self.iss, self.sub)

    @property
    def payer(self) -> Holder | str:
        """Who pays for what the client sends: its holder. For a token that nobody has verified, it is the address.

        Otherwise anyone would get new limits with each text that they send as a token.
        """
        return self.holder if self.sub is not None or self.address is None else self.address


def allows(identity: Identity, action: Action, queue: str | None = None, job_id: str | None = None) -> bool:
    """Whether a client's rights allow an action. This function does not check whether its token has expired.

    Args:
        identity: The client.
        action: What it wants to do.
        queue: The label of the queue. None means every queue; for `READ_LOGS`, also lines that name no queue. `*` is no
            wildcard.
        job_id: The job. None means all jobs of the queue, or that the action is not about a job.
    """
    return identity.rights.include(action, queue, job_id)
