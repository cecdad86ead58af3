"""Asks the authorizer what clients may do, and keeps its answers for as long as it allows."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import anyio

from jobws.access.asked import MAX_CHECKS, AskedRights, Check, Rehearsal, Subject, Told, Verdict
from jobws.errors import RequestError
from jobws.server.authorizer import MAX_ASKS, AuthorizerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from jobws.access.asked import Look
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
_NOTHING: Final = Told(None, None)
BUSY: Final = f"the authorizer is being asked {MAX_ASKS} questions already; send the request again"

_log: Final = logging.getLogger(__name__)
_Key: TypeAlias = tuple[bytes, Check]


class Gate:
    """Asks an authorizer. At most 16 questions are under way at the same time, further requests are `unavailable`.

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
        self._asking = 0
        self._is_failing = False
        # In the order in which the answers came.
        self._verdicts: OrderedDict[_Key, Verdict] = OrderedDict()
        self._told: OrderedDict[bytes, Told] = OrderedDict()

    def of(self, identity: Identity, token: str | None) -> Identity:
        """Return the identity of a verified client, with rights that the authorizer decides."""
        told = self._told.get(identity.token_hash, _NOTHING)
        return replace(identity, rights=AskedRights(Subject(identity, token), self._labels, self._judge, told))

    async def _judge(self, rights: AskedRights, look: Look) -> None:
        found = await self._settle(rights, look, partial(self._recall, rights), self._ask_leniently)
        rights.take(found, anyio.current_time())

    async def judge_again(self, rights: AskedRights, look: Look) -> Mapping[Check, Verdict]:
        """Return the answers that `look` needs. The authorizer is asked for those that are due.

        Raises:
            AuthorizerError: The authorizer gave no answer that can be used.
            RequestError: `unavailable` or `too-many`. The authorizer cannot be asked now.
        """
        return await self._settle(rights, look, partial(self._recall_live, rights), self._ask_strictly)

    def recall_all(self, rights: AskedRights, look: Look) -> Mapping[Check, Verdict]:
        """Return the answers that `look` needs, with a no for each that is due."""
        now = anyio.current_time()
        rehearsal = _rehearse(self._labels, look, lambda check: self._recall_live(rights, check, now))
        return rehearsal.found | dict.fromkeys(rehearsal.missing, _failed(now))

    async def _settle(self, rights: AskedRights, look: Look, recall: Recall, ask: Ask) -> Mapping[Check, Verdict]:
        """Ask until there is an answer to each check that `look` needs, and return these answers.

        Usually this asks once. An answer may show that other checks are needed, and a queue may be found meanwhile.
        """
        found: dict[Check, Verdict] = {}
        is_scanned = False

        def find(check: Check) -> Verdict | None:
            return found.get(check) or recall(check, anyio.current_time())

        while True:
            rehearsal = _rehearse(self._labels, look, find)
            if rehearsal.seeks and not is_scanned:
                is_scanned = True
                await self._scanned()
                continue
            if not rehearsal.missing:
                return rehearsal.found
            count = len(found) + len(rehearsal.missing)
            if count > MAX_CHECKS:
                sentence = f"the authorizer would be asked {count} questions; the limit is {MAX_CHECKS}"
                raise RequestError("too-many", f"{sentence}; name the `queue` of each job")
            found |= await ask(rights, [*rehearsal.missing])

    def _recall(self, rights: AskedRights, check: Check, now: float) -> Verdict | None:
        """Return the answer to a check that is still valid for new requests with this token."""
        verdict = self._verdicts.get((rights.subject.identity.token_hash, check))
        return None if verdict is None or verdict.until <= now else verdict

    def _recall_live(self, rights: AskedRights, check: Check, now: float) -> Verdict | None:
        """Return the answer to a check that is still valid for the subscriptions of a client."""
        verdict = rights.verdicts.get(check)
        return self._recall(rights, check, now) if verdict is None or verdict.again <= now else verdict

    async def _ask_leniently(self, rights: AskedRights, checks: Sequence[Check]) -> Mapping[Check, Verdict]:
        """Ask the authorizer. Where it fails, the answer is no."""
        try:
            found = await self._ask(rights, checks)
        except AuthorizerError:
            found = {}
        failed = _failed(anyio.current_time())
        return {check: found.get(check, failed) for check in checks}

    async def _ask_strictly(self, rights: AskedRights, checks: Sequence[Check]) -> Mapping[Check, Verdict]:
        """Ask the authorizer. Raises AuthorizerError if it does not answer all checks."""
        found = await self._ask(rights, checks)
        if len(found) < len(checks):
            raise AuthorizerError("authorize failed")
        return found

    async def _ask(self, rights: AskedRights, checks: Sequence[Check]) -> dict[Check, Verdict]:
        if self._asking >= MAX_ASKS:
            self.counts["unavailable"] += 1
            raise RequestError("unavailable", BUSY)
        self._asking += 1
        self.counts["asked"] += 1
        try:
            decision = await self._authorizer.decide(rights.subject, checks)
        except AuthorizerError as error:
            self.counts["failed"] += 1
            if not self._is_failing:  # otherwise anyone could fill the log
                _log.warning("the authorizer allows nothing now: %s", error)
            self._is_failing = True
            raise
        finally:
            self._asking -= 1
        self._is_failing = False
        now, found = anyio.current_time(), {}
        for check, permission in zip(checks, decision.permissions, strict=True):
            if permission is not None:
                allow, ttl = permission
                until = now + (ttl if allow else min(ttl, MAX_NO_SECONDS))
                found[check] = Verdict(allow, until, until if ttl else now + AGAIN_SECONDS)
        rights.told = decision.told
        if token_hash := rights.subject.identity.token_hash:
            self._keep(token_hash, found, decision.told, now)
        return found

    def _keep(self, token_hash: bytes, found: Mapping[Check, Verdict], told: Told, now: float) -> None:
        _put(self._told, token_hash, told)
        for check, verdict in found.items():
            if verdict.until > now:
                _put(self._verdicts, (token_hash, check), verdict)
            else:
                self._verdicts.pop((token_hash, check), None)


def _rehearse(labels: Collection[str], look: Look, find: Callable[[Check], Verdict | None]) -> Rehearsal:
    rehearsal = Rehearsal(labels, find)
    with suppress(RequestError):  # it is raised again when the request is served
        look(rehearsal)
    return rehearsal


def _failed(now: float) -> Verdict:
    return Verdict(allow=False, until=now, again=now + AGAIN_SECONDS)


_AnyKey = TypeVar("_AnyKey", bytes, _Key)
_Value = TypeVar("_Value")


def _put(cache: OrderedDict[_AnyKey, _Value], key: _AnyKey, value: _Value) -> None:
    """Add to a cache, or replace, and drop the oldest entry if there are too many."""
    cache.pop(key, None)
    cache[key] = value
    if len(cache) > CACHED:
        cache.popitem(last=False)
