"""Decides how long clients of WebSockets may stay. A token may come after the handshake, expire, be renewed or revoked.

A client that sends no token is closed after `authenticate_seconds`. A client gets the frame `expiring` at
`expiring_seconds` before its token expires. After the expiry, it may only send a new token, and is closed after
`grace_seconds`. A client whose token is revoked is closed, too. One task checks all this, a few times a second.
"""

from __future__ import annotations

import logging
import time
from enum import Enum
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import anyio.lowlevel

from jobws.access.caller import ANYONE, Refused, Unauthenticated, payer_of
from jobws.access.carrier import Carried, Carrier
from jobws.access.identity import Identity
from jobws.access.sights import sight_of
from jobws.errors import RequestError, TokenRefusedError
from jobws.hub.client import Client
from jobws.protocol.close_codes import CloseCode
from jobws.protocol.messages import ItemError
from jobws.protocol.session import Close, Standing
from jobws.server.judging import judge, latest_identity
from jobws.server.websocket.strangers import Strangers, is_stranger

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.access.caller import Caller
    from jobws.access.sights import AnySight
    from jobws.protocol.request_types import Authenticate
    from jobws.server.authentication import Authentication
    from jobws.server.settings import Settings
    from jobws.server.tasks import Tasks
    from jobws.server.websocket.connection_limits import ConnectionLimits
    from jobws.server.websocket.hello import Greeting

AnyHubClient: TypeAlias = Client[Any, Any]

BAD_TOKEN: Final = ItemError("bad-token", "the token is not accepted; the bridge's log says why")
BUSY: Final = ItemError("too-many", "another `authenticate` of this connection is not answered yet")
EXPIRED: Final = Close(CloseCode.TOKEN_EXPIRED, "the token has expired")
REVOKED: Final = Close(CloseCode.REVOKED, "the token is no longer accepted")
GUESSING: Final = Close(CloseCode.TOO_MANY, "too many tokens of this address were refused (failed_auths_per_minute)")
REFUSED: Final = Close(CloseCode.NOT_AUTHENTICATED, BAD_TOKEN.message)
TICK_SECONDS: Final = 0.25
# How often to ask whether tokens are still accepted. A client must be closed within 10 s after its token was revoked,
# and reading the files of keys takes up to half of this.
LOOK_SECONDS: Final = 4.0
# How many clients are checked in one step, which takes about 0.2 ms. There may be 20,000 clients.
AT_ONCE: Final = 500

_log: Final = logging.getLogger(__name__)


class _Next(Enum):
    """What happens next to a client if it sends no token, or no new one."""

    WARN = "warn"
    EXPIRE = "expire"
    CLOSE = "close"


class _Member:
    """A client of a bridge with keys.

    Attributes:
        client: The hub's side of the client.
        address: The address by which the client is limited. None: it is not limited by its address.
        identity: Who the client is; None before it has sent a token.
        next: What happens to the client at the time `at`, unless it sends a token before.
        at: In seconds since 1970, or on anyio's clock before the client has a token. Infinity if its token never
            expires.
        verifying: Whether a request `authenticate` is being verified.
    """

    __slots__ = ("address", "at", "client", "identity", "next", "verifying")

    def __init__(self, client: AnyHubClient, address: str | None) -> None:
        self.client = client
        self.address = address
        self.identity: Identity | None = None
        self.next = _Next.CLOSE
        self.at = inf
        self.verifying = False


class Admission:
    """Greets the clients of `/ws` and `/logs`, verifies tokens that come later, and closes clients without a valid one.

    Args:
        authentication: Verifies tokens.
        greeting: Makes the first frame.
        settings: The times and limits.
        tasks: The tasks of the bridge.
        limits: Counts the connections of identities and addresses.
        note_failed: Called when a token is refused, with the client's address, the time on anyio's clock, and the
            error, or None if the log has it already. Returns how many seconds the address must wait; 0 if it need not.

    Attributes:
        strangers: The clients of whom nobody knows yet who they are, and the connections whose first question to the
            authorizer is under way.
    """

    def __init__(
        self,
        authentication: Authentication,
        greeting: Greeting,
        settings: Settings,
        tasks: Tasks,
        limits: ConnectionLimits,
        note_failed: Callable[[str | None, float, TokenRefusedError | None], float],
    ) -> None:
        self._authentication = authentication
        self._greeting = greeting
        self._settings = settings
        self._tasks = tasks
        self._limits = limits
        self._note_failed = note_failed
        self._members: dict[AnyHubClient, _Member] = {}
        self.strangers = Strangers(settings.max_unauthenticated, limits.note)

    def enter(self, client: AnyHubClient, caller: Caller, sight: AnySight, address: str | None) -> None:
        """Append `hello` to the outbox of a new client, and check its token from now on.

        The client is closed if its token is refused, or if there are too many clients with its address, with its
        identity or without a token. It counts as one of these clients until `leave` is called.

        Args:
            client: The hub's side of the client.
            caller: Who the client is.
            sight: What `sight_of` returned for `caller`, which takes time for each right.
            address: The address by which the client is limited. None: it is not limited by its address.
        """
        greeting = self._greeting
        client.outbox.append(greeting.frame(sight) if isinstance(caller, Identity) else greeting.frame_before_token())
        client.charge_to(payer_of(caller, address))
        _close_if(client, self._limits.locate(client, address))
        if not self._authentication.required:
            client.on_authenticate = lambda request: self._renew(client, request, ANYONE)
            return
        member = self._members[client] = _Member(client, address)
        client.on_authenticate = lambda request: self._authenticate(member, request)
        match caller:
            case Identity():
                self._admit(member, caller)
            case Refused(error):
                client.close(EXPIRED if error.code == "expired" else REFUSED)
            case Unauthenticated():
                self._wait(member)

    def leave(self, client: AnyHubClient) -> None:
        """Forget a client that is gone."""
        self._limits.leave(client)
        self.strangers.leave(client)
        self._members.pop(client, None)

    def _wait(self, member: _Member) -> None:
        member.client.session.standing = Standing.WITHOUT_TOKEN
        member.at = anyio.current_time() + self._settings.authenticate_seconds
        _close_if(member.client, self.strangers.enter(member.client, member.address))

    # ---- tokens ----

    def _authenticate(self, member: _Member, request: Authenticate) -> None:
        if member.verifying:
            member.client.reject(request, BUSY, anyio.current_time())
        else:
            member.verifying = True
            self._tasks.spawn(self._verify, member, request)

    async def _verify(self, member: _Member, request: Authenticate) -> None:
        identity: Identity | None = None
        refused: TokenRefusedError | None = None
        busy: RequestError | None = None
        try:
            identity = await self._authentication.identify(Carried(Carrier.AUTHENTICATE, request.token, member.address))
            identity = await judge(identity, partial(self._examine, member.client))
        except RequestError as error:
            busy = error
        except TokenRefusedError as error:
            refused = error
        except Exception:  # noqa: BLE001 - a hook that fails lets nobody in, and ends nothing
            _log.exception("a token could not be verified")
        member.verifying = False
        if member.client not in self._members or member.client.closing is not None:
            return
        now = anyio.current_time()
        if busy is not None:
            member.client.reject(request, ItemError(busy.code, busy.message), now)
            return
        if identity is None:
            member.client.reject(request, BAD_TOKEN, now)
            if self._note_failed(member.address, now, refused):
                member.client.close(GUESSING)
            return
        self._renew(member.client, request, identity)
        self._admit(member, identity)

    def _examine(self, client: AnyHubClient, identity: Identity) -> None:
        """Ask a new token's sight for every right that `hello` and the subscriptions need; see `Client.examine`."""
        sight = sight_of(identity)
        self._greeting.examine(sight)
        client.examine(sight)

    def _renew(self, client: AnyHubClient, request: Authenticate, identity: Identity) -> None:
        sight = sight_of(identity)
        client.renew(sight, request, self._greeting.renewal(sight, identity.expires_ms))

    def _admit(self, member: _Member, identity: Identity) -> None:
        member.identity = identity
        member.client.charge_to(payer_of(identity, member.address))
        _close_if(member.client, self._limits.identify(member.client, identity))
        member.next = _Next.WARN
        member.at = inf if identity.expires_ms is None else identity.expires_ms / 1000 - self._settings.expiring_seconds
        self._look(member, time.time())

    # ---- time ----

    async def run(self) -> None:
        """Run until cancelled. Warn clients whose tokens expire soon, and close clients that have no valid token.

        A client is closed if its token is revoked, or if it did not send a token, or a new one, in time.
        """
        look_at = 0.0
        while True:
            await anyio.sleep(TICK_SECONDS)
            is_due = anyio.current_time() >= look_at
            if is_due:
                look_at = anyio.current_time() + LOOK_SECONDS
            await self._check_members(is_due=is_due)

    async def _check_members(self, *, is_due: bool) -> None:
        """Do what is to be done now for each client.

        With `is_due`, also close it if its token is not accepted now, and have the authorizer asked again about
        strangers.
        """
        now, wall = anyio.current_time(), time.time()
        for number, member in enumerate(list(self._members.values())):
            if member.client.closing is not None:
                pass
            elif member.identity is None:
                if now >= member.at:
                    seconds = self._settings.authenticate_seconds
                    member.client.close(Close(CloseCode.NOT_AUTHENTICATED, f"no token came within {seconds:g} s"))
            elif is_due and not self._authentication.is_current(member.identity):
                member.client.close(REVOKED)
            elif is_due or wall >= member.at or member.client in self.strangers:
                self._look(member, wall)
                if is_due and member.client in self.strangers:
                    self._tasks.spawn(self._ask_again, member.identity)
            if number % AT_ONCE == AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()

    async def _ask_again(self, identity: Identity) -> None:
        """Have the authorizer asked about a token for which it has given no answer."""
        await self._greeting.judged(identity)

    def _look(self, member: _Member, wall: float) -> None:
        """Warn a client with a token, let its token expire, or close it, if it is time for that.

        The client counts as a stranger as long as `is_stranger`. What an authorizer said since takes effect.
        `wall` is the present time, in seconds since 1970.
        """
        client, identity = member.client, member.identity
        if identity is None:
            return
        if is_stranger(identity):
            _close_if(client, self.strangers.enter(client, member.address))
        else:
            self.strangers.leave(client)
        latest = latest_identity(identity)
        if (latest.sub, latest.expires_ms) != (identity.sub, identity.expires_ms):  # an authorizer has changed its mind
            client.session.standing = Standing.VALID
            self._admit(member, latest)
            return
        if identity.expires_ms is None or wall < member.at:
            return
        expires = identity.expires_ms / 1000
        if member.next is _Next.WARN:
            client.warn(identity.expires_ms)
            member.next, member.at = _Next.EXPIRE, expires
        if member.next is _Next.EXPIRE and wall >= member.at:
            client.session.standing = Standing.EXPIRED
            member.next, member.at = _Next.CLOSE, expires + self._settings.grace_seconds
        if member.next is _Next.CLOSE and wall >= member.at:
            client.close(EXPIRED)


def _close_if(client: AnyHubClient, sentence: str | None) -> None:
    if sentence is not None:
        client.close(Close(CloseCode.TOO_MANY, sentence))
