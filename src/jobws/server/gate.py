"""Asks the authorizer what clients may do, and keeps its answers for as long as it allows."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio

from jobws.access.asked import MAX_CHECKS, AskedRights, Check, Rehearsal, Subject, Verdict
from jobws.errors import RequestError
from jobws.server.authorizer import AuthorizerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence

    from jobws.access.asked import Examine, TokenInfo
    from jobws.access.identity import Identity
    from jobws.server.authorizer import Authorizer

    Ask: TypeAlias = Callable[[AskedRights, Sequence[Check]], Awaitable[Mapping[Check, Verdict]]]
    Recall: TypeAlias = Callable[[Check, float], Verdict | None]

CACHED: Final = 10_000
"""How many answers are kept, and of how many tokens it is known who holds them."""
MAX_NO_SECONDS: Final = 5.0
"""The longest time for which a no is kept."""
AGAIN_SECONDS: Final = 60.0
"""How often the authorizer is asked about a subscription if its answer is valid for no time."""
MAX_REQUESTS: Final = 10
"""How many questions for requests are under way at the same time."""
MAX_OF_ONE: Final = 6
"""How many of them are for one holder or address. A browser opens six connections to a server."""
BUSY: Final = "the authorizer is being asked {} questions already; send the request again"

_log: Final = logging.getLogger(__name__)
_Key: TypeAlias = tuple[bytes, Check]


class Gate:
    """Asks an authorizer.

    For requests, at most 10 questions are under way at the same time, and 6 of one client. Further requests are
    `unavailable`. What asks again about subscriptions (`Reasking`) has a limit of its own: otherwise requests could
    delay its questions until subscriptions end.

    Args:
        authorizer: Decides.
        labels: The labels of all queues; a live view.
        scanned: Waits until the labels of all queues are known. Raises RequestError if this takes too long.

    Attributes:
        counts: How many questions were `asked`, how many of them `failed`, and how many requests were `unavailable`.
    """

    def __init__(self, authorizer: Authorizer, labels: Collection[str], scanned: Callable[[], Awaitable[None]]) -> None:
        self.counts: Counter[str] = Counter()
        self._authorizer = authorizer
        self._labels = labels
        self._scanned = scanned
        # How many questions for requests are under way, by who pays for the requests.
        self._asking: Counter[Hashable] = Counter()
        self._is_failing = False
        # In the order in which the answers came.
        self._verdicts: OrderedDict[_Key, Verdict] = OrderedDict()
        self._token_infos: OrderedDict[bytes, TokenInfo] = OrderedDict()

    def of(self, identity: Identity, token: str | None) -> Identity:
        """Return the identity of a verified client, with rights that the authorizer decides."""
        info = self._token_infos.get(identity.token_hash)
        return replace(identity, rights=AskedRights(Subject(identity, token), self._labels, self._judge, info))

    async def _judge(self, rights: AskedRights, examine: Examine) -> None:
        found = await self._complete(rights, examine, partial(self._recall, rights), self._ask_for_request)
        rights.take(found, anyio.current_time())

    async def judge_again(self, rights: AskedRights, examine: Examine) -> Mapping[Check, Verdict]:
        """Return the answers that the subscriptions of a client need. The caller passes them to `rights.keep`.

        The authorizer is asked about each check without an answer, or with one whose time `again` has come, unless a
        newer answer for the same token is kept.

        Args:
            rights: The client's rights.
            examine: Goes through the client's subscriptions.

        Raises:
            AuthorizerError: The authorizer gave no answer that can be used.
            RequestError: `unavailable`. Redis does not tell which queues there are.
        """
        return await self._complete(rights, examine, partial(self._recall_live, rights), self._ask_again, most=None)

    def recall_all(self, rights: AskedRights, examine: Examine) -> Mapping[Check, Verdict]:
        """Return what `judge_again` returns, but with a no where the authorizer would be asked.

        This is for an authorizer that has failed for too long.
        """
        now = anyio.current_time()
        rehearsal = Rehearsal(self._labels, lambda check: self._recall_live(rights, check, now), most=None)
        examine(rehearsal)
        return rehearsal.answers | dict.fromkeys(rehearsal.missing, _failed(now))

    async def _complete(
        self, rights: AskedRights, examine: Examine, recall: Recall, ask: Ask, most: int | None = MAX_CHECKS
    ) -> Mapping[Check, Verdict]:
        """Ask until there is an answer to each check that `examine` needs, and return these answers.

        Usually this asks once. An answer may show that other checks are needed, and a queue may be found meanwhile.

        Args:
            rights: Whose rights.
            examine: Goes through what the answers are needed for.
            recall: Returns the answer to a check that is still valid, or None.
            ask: Asks the authorizer.
            most: How many checks `examine` may go through; None for no limit.

        Raises:
            RequestError: `too-many`: `examine` goes through more than `most` checks; or `unavailable`.
            AuthorizerError: Raised by `ask`, if at all.
        """
        found: dict[Check, Verdict] = {}
        is_scanned = False

        def find(check: Check) -> Verdict | None:
            return found.get(check) or recall(check, anyio.current_time())

        while True:
            rehearsal = Rehearsal(self._labels, find, most)
            with suppress(RequestError):  # it is raised again when the request is served
                examine(rehearsal)
            if rehearsal.seeks and not is_scanned:
                is_scanned = True
                await self._scanned()
                continue
            rehearsal.check_count()
            if not rehearsal.missing:
                return rehearsal.answers
            found |= await ask(rights, [*islice(rehearsal.missing, MAX_CHECKS)])

    def _recall(self, rights: AskedRights, check: Check, now: float) -> Verdict | None:
        """Return the answer to a check that is still valid for new requests with this token; None if there is none.

        `now` is the present time by `anyio.current_time()`, in seconds.
        """
        token_hash = rights.subject.identity.token_hash
        info = self._token_infos.get(token_hash)
        if info is None:  # without it, the holder of the token would seem to be another one
            return None
        # Then only the authorizer knows whether the token is valid for longer now. Its `ttl` counts on another clock.
        if info.expires_ms is not None and info.expires_ms <= time.time() * 1000:
            return None
        verdict = self._verdicts.get((token_hash, check))
        return None if verdict is None or verdict.until <= now else verdict

    def _recall_live(self, rights: AskedRights, check: Check, now: float) -> Verdict | None:
        """Return the answer to a check that is still valid for the subscriptions of a client; None if there is none.

        `now` is the present time by `anyio.current_time()`, in seconds.
        """
        verdict = rights.verdicts.get(check)
        return self._recall(rights, check, now) if verdict is None or verdict.again <= now else verdict

    async def _ask_for_request(self, rights: AskedRights, checks: Sequence[Check]) -> Mapping[Check, Verdict]:
        """Ask the authorizer. If it fails, or has no answer to some of `checks`, the answer to these is no.

        Raises RequestError (`unavailable`) if too many questions are under way; see `Gate`.
        """
        rights.needed_answer = True
        payer = rights.identity.payer
        for count, most in ((self._asking[payer], MAX_OF_ONE), (self._asking.total(), MAX_REQUESTS)):
            if count >= most:
                self.counts["unavailable"] += 1
                raise RequestError("unavailable", BUSY.format(most))
        self._asking[payer] += 1
        try:
            found = await self._ask(rights, checks)
        except AuthorizerError:
            found = {}
        finally:
            self._asking -= Counter([payer])  # this also drops the payer whose last question it was
        failed = _failed(anyio.current_time())
        return {check: found.get(check, failed) for check in checks}

    async def _ask_again(self, rights: AskedRights, checks: Sequence[Check]) -> Mapping[Check, Verdict]:
        """Ask the authorizer. Raises AuthorizerError if it does not answer all checks."""
        found = await self._ask(rights, checks)
        if len(found) < len(checks):
            raise AuthorizerError("authorize failed")
        return found

    async def _ask(self, rights: AskedRights, checks: Sequence[Check]) -> dict[Check, Verdict]:
        self.counts["asked"] += 1
        try:
            decision = await self._authorizer.decide(rights.subject, checks)
        except AuthorizerError as error:
            self.counts["failed"] += 1
            if not self._is_failing:  # otherwise anyone could fill the log
                _log.warning("the authorizer allows nothing now: %s", error)
            self._is_failing = True
            raise
        self._is_failing = False
        now, found = anyio.current_time(), {}
        for check, permission in zip(checks, decision.permissions, strict=True):
            if permission is not None:
                allow, ttl = permission
                until = now + (ttl if allow else min(ttl, MAX_NO_SECONDS))
                found[check] = Verdict(allow, until, until if ttl else now + AGAIN_SECONDS)
        rights.token_info = decision.token_info
        if token_hash := rights.subject.identity.token_hash:
            self._keep(token_hash, found, decision.token_info, now)
        return found

    def _keep(self, token_hash: bytes, found: Mapping[Check, Verdict], info: TokenInfo, now: float) -> None:
        _put(self._token_infos, token_hash, info)
        for check, verdict in found.items():
            if verdict.until > now:
                _put(self._verdicts, (token_hash, check), verdict)
            else:
                self._verdicts.pop((token_hash, check), None)


def _failed(now: float) -> Verdict:
    # A failure is no answer, so subscriptions that rested on a yes are asked about immediately.
    return Verdict(allow=False, until=now, again=now)


_AnyKey = TypeVar("_AnyKey", bytes, _Key)
_Value = TypeVar("_Value")


def _put(cache: OrderedDict[_AnyKey, _Value], key: _AnyKey, value: _Value) -> None:
    """Add to a cache, or replace, and drop the oldest entry if there are too many."""
    cache.pop(key, None)
    cache[key] = value
    if len(cache) > CACHED:
        cache.popitem(last=False)
