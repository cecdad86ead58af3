"""Rights that an authorizer decides: what it has answered about a client, and what it must still be asked.

The hub and the endpoints judge rights without waiting, so the answers must be at hand before. A request is first gone
through with a `Rehearsal`, which notes the checks that have no answer yet. When these are answered, the request is
served with `AskedRights`. A check without an answer is a no.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from jobws.access.scope import Action
from jobws.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from jobws.access.identity import Identity

MAX_CHECKS: Final = 10_000
"""How many checks one request may need."""


class Check(NamedTuple):
    """A question for the authorizer: may this client do this here? `allows` explains the fields."""

    action: Action
    queue: str | None
    job_id: str | None


class Verdict(NamedTuple):
    """The authorizer's answer to a check.

    Attributes:
        allow: Whether the client may do it.
        until: The time up to which further requests get the same answer.
        again: The time at which the authorizer is asked again about a subscription that rests on this answer.

    Times are in seconds on a clock that never goes back.
    """

    allow: bool
    until: float
    again: float


class TokenInfo(NamedTuple):
    """What the authorizer said of a token. A field is None if the authorizer did not say it.

    Attributes:
        sub: Who holds the token.
        expires_ms: When the token expires, in milliseconds since 1970.
    """

    sub: str | None
    expires_ms: int | None


_NOTHING: Final = TokenInfo(None, None)


class Subject(NamedTuple):
    """Of whom the authorizer is asked.

    Attributes:
        identity: The client, as keys or the app's function `authenticate` identified it. Where the bridge has neither,
            this has the hash of the token, but not its holder.
        token: The text of the token. None if `authenticate` identified the client without a token.
    """

    identity: Identity
    token: str | None


class Rehearsal:
    """The rights with which a request is gone through to find out which checks it needs.

    Args:
        labels: The labels of all queues; a live view.
        find: Returns the answer to a check that is still valid, or None.
        most: How many checks may be gone through; `include` raises RequestError (`too-many`) for further ones. None for
            no limit.

    Attributes:
        count: How many checks were gone through. A check that comes twice counts twice.
        entries: Empty. The entries of a scope are not read where an authorizer decides.
        answers: The answers that were needed and are there.
        missing: The checks that were needed and have no answer. Each counts as a no.
        seeks: Whether the request looked through all queues, so that the checks that it needs depend on which queues
            there are.
    """

    __slots__ = ("_find", "_most", "answers", "count", "labels", "missing", "seeks")
    entries = ()

    def __init__(
        self, labels: Collection[str], find: Callable[[Check], Verdict | None], most: int | None = MAX_CHECKS
    ) -> None:
        self.labels = labels
        self.count = 0
        self._most = most
        self.answers: dict[Check, Verdict] = {}
        self.missing: dict[Check, None] = {}
        self.seeks = False
        self._find = find

    def include(self, action: Action, queue: str | None, job_id: str | None) -> bool:
        """Whether a check has a yes as its answer. The check is noted. `allows` explains the arguments."""
        self.count += 1
        self.check_count()
        check = Check(action, queue, job_id)
        verdict = self._find(check)
        if verdict is None:
            self.missing[check] = None
            return False
        self.answers[check] = verdict
        return verdict.allow

    def check_count(self) -> None:
        """Raise RequestError (`too-many`) if more checks were gone through than the limit allows.

        `include` raises this, too. A caller that suppresses the errors of `include` calls this method afterwards.
        """
        if self._most is not None and self.count > self._most:
            sentence = f"the authorizer would be asked more than {self._most} questions; name the `queue` of each job"
            raise RequestError("too-many", sentence)

    def knows(self, _label: str) -> bool:
        """Return False. So the positions in a request are skipped, on which the checks that it needs do not depend."""
        return False


Examine: TypeAlias = "Callable[[Rehearsal], object]"
"""Goes through a request with the rights of a rehearsal. It may raise RequestError, which changes nothing."""
Judge: TypeAlias = "Callable[[AskedRights, Examine], Awaitable[None]]"


class AskedRights:
    """The rights of one client or request where an authorizer decides.

    Args:
        subject: Of whom the authorizer is asked.
        labels: The labels of all queues; a live view.
        judge: Called by the method `judge` with these rights and its `examine`. It passes the answers to `take`.
        token_info: What the authorizer said of the token before. None: it has not been asked about it.

    Attributes:
        due: The time, as in `Verdict`, at which to find out which answers the client's subscriptions need, and to ask
            again for those that are no longer valid. Infinity means that no such time is set. `take` and `keep` set
            it, and others may set an earlier time.
        entries: Empty. The entries of a scope are not read where an authorizer decides.
        in_use: Whether requests that were judged are still to be served. Meanwhile `keep` drops no answer. Set by the
            object that serves these requests; False at first.
        labels: The labels of all queues; a live view.
        needed_answer: Whether an answer of the authorizer was needed. Perhaps it was not asked, since too many
            questions were under way. False at first.
        subject: Of whom the authorizer is asked.
        token_info: What the authorizer said of the token last. None: it has given no answer yet.
        verdicts: The answers so far.
    """

    __slots__ = (
        "_changed",
        "_judge",
        "_known",
        "_most",
        "due",
        "in_use",
        "labels",
        "needed_answer",
        "subject",
        "token_info",
        "verdicts",
    )
    entries = ()

    def __init__(self, subject: Subject, labels: Collection[str], judge: Judge, token_info: TokenInfo | None) -> None:
        self.subject = subject
        self.labels = labels
        self.token_info = token_info
        self.verdicts: dict[Check, Verdict] = {}
        self.due = inf
        self.in_use = False
        self.needed_answer = False
        self._judge = judge
        self._known: set[str | None] = set()
        self._changed = False
        # With more answers than this, those that no subscription needs are to be dropped.
        self._most = MAX_CHECKS

    @property
    def identity(self) -> Identity:
        """The client, with what the authorizer said of it where its token does not say it.

        Of two expiries, the earlier one counts.
        """
        verified, info = self.subject.identity, self.token_info or _NOTHING
        times = [each for each in (verified.expires_ms, info.expires_ms) if each is not None]
        return replace(verified, rights=self, sub=verified.sub or info.sub, expires_ms=min(times, default=None))

    @property
    def are_unanswered(self) -> bool:
        """Whether nobody knows whose token this is: no key says it, and the authorizer has given no answer yet."""
        verified = self.subject.identity
        return self.token_info is None and verified.sub is None and verified.key is None

    def __repr__(self) -> str:
        return f"<AskedRights: {len(self.verdicts)} answers>"

    def judge(self, examine: Examine) -> Awaitable[None]:
        """Have the authorizer asked about those checks that `examine` needs and that have no valid answer.

        When this returns, and until the next await, `include` has an answer for each check that `examine` needs.

        Args:
            examine: Tests, on the `Rehearsal` that it is given, each right that the request needs. It may be called
                more than once, and must change nothing. If it raises RequestError, this method does not: the authorizer
                is asked about the checks up to then.

        Raises:
            RequestError: `unavailable`: the request cannot be judged now; or `too-many`: it needs too many checks.
        """
        return self._judge(self, examine)

    def copy(self) -> AskedRights:
        """Return rights with the same answers, which later change on their own."""
        rights = AskedRights(self.subject, self.labels, self._judge, self.token_info)
        rights.keep(self.verdicts)
        return rights

    def include(self, action: Action, queue: str | None, job_id: str | None) -> bool:
        """Whether the authorizer allows the action. `allows` explains the arguments."""
        verdict = self.verdicts.get(Check(action, queue, job_id))
        return verdict is not None and verdict.allow

    def knows(self, label: str) -> bool:
        """Whether the client may read something of this queue, so that it may know that the queue exists."""
        return label in self._known

    def take(self, verdicts: Mapping[Check, Verdict], now: float) -> None:
        """Take further answers.

        `due` becomes `now`, unless it is earlier, if one of the answers takes back a yes, or if there are now so many
        answers that those that no subscription needs are to be dropped.
        """
        for check, verdict in verdicts.items():
            before = self.verdicts.get(check)
            if before is not None and before.allow and not verdict.allow:
                self._changed, self.due = True, min(self.due, now)
            self._note(check, verdict)
        self.verdicts.update(verdicts)
        if len(self.verdicts) > self._most:
            self.due = min(self.due, now)

    def keep(self, verdicts: Mapping[Check, Verdict]) -> bool:
        """Replace the answers by those that the client's subscriptions need. While `in_use`, the others stay, too.

        Returns whether a subscription may have lost or gained something since the last call.
        """
        changed = self._changed or any(self.include(*check) != each.allow for check, each in verdicts.items())
        others = self.verdicts if self.in_use else {}
        self.verdicts, self._known, self._changed = {**others, **verdicts}, set(), False
        self._most = max(MAX_CHECKS, 2 * len(verdicts))
        for check, verdict in self.verdicts.items():
            self._note(check, verdict)
        self.due = min((each.again for each in verdicts.values() if each.allow), default=inf)
        return changed

    def _note(self, check: Check, verdict: Verdict) -> None:
        if verdict.allow:
            self.due = min(self.due, verdict.again)
            if check.action in (Action.READ_JOB, Action.READ_QUEUE):
                self._known.add(check.queue)
