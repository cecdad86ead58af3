"""What every random walk checks of a client of the hub, on `/ws` as on `/logs`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from hypothesis import settings
from hypothesis import strategies as st

from jobws.protocol.messages import AuthenticatedData, ItemError
from jobws.protocol.session import Standing
from tests.fuzz.frames import CLOSE_CODES, HIDING, SCOPES, Message, check_frame, messages
from tests.fuzz.mutations import evenly
from tests.support.sight import sight

if TYPE_CHECKING:
    from jobws.access.visible import IdentitySight
    from jobws.hub.client import Client
    from jobws.protocol.request_types import Authenticate

WALKS: Final = settings(max_examples=max(100, settings.default.max_examples // 5))  # type: ignore[union-attr]
"""How often to walk. A walk has several messages, so it counts for several inputs."""
BAD_TOKEN: Final = ItemError("bad-token", "the token is not accepted")
HIDDEN: Final = st.sampled_from((*HIDING, "guess", "", 7))
"""What a client that may not see job 1 sends as a token."""
EVERY: Final = st.sampled_from((*SCOPES, "guess", "", 7))
"""What any client sends as a token."""
SIGHTS: Final = {token: sight(*scope.split(" ")) for token, scope in SCOPES.items()}


class Walker:
    """A client of the hub, whose requests are counted, and whose frames are checked.

    Attributes:
        token: The token that the client has now.
    """

    def __init__(self, client: Client[Any, Any], token: str) -> None:
        self.client = client
        self.token = token
        self._asked: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self.now = 0.0
        client.on_authenticate = self._authenticate

    def _authenticate(self, request: Authenticate) -> None:
        if request.token in SCOPES:
            self.token = request.token
            self.client.renew(SIGHTS[self.token], request, AuthenticatedData("authenticate", None, (), 0))
        else:
            self.client.reject(request, BAD_TOKEN, self.now)

    @property
    def sight(self) -> IdentitySight:
        return SIGHTS[self.token]

    def expire(self) -> None:
        """The token expires, as it does in the bridge."""
        if self.client.session.standing is Standing.VALID:
            self.client.session.standing = Standing.EXPIRED

    def send(self, message: Message) -> Any:
        """Send a message, and return what waits for a look-up, if something does."""
        if message.ref is not None and self.client.closing is None:
            self._asked[message.ref] += 1
        return self.client.receive(message.payload, self.now)

    def frames(self) -> list[bytes]:
        """Take the frames of the client, and check each one."""
        payloads = [frame.payload for frame in self.client.outbox.take()]
        self.client.outbox.written()
        for payload in payloads:
            frame = json.loads(payload)
            check_frame(frame)
            if frame["event"] in ("ack", "error", "pong") and "ref" in frame:
                self._answered[frame["ref"]] += 1
        assert not self.client.outbox.overflowed
        if self.client.closing is not None:
            assert self.client.closing.code in CLOSE_CODES
        return payloads

    def check_answers(self) -> None:
        """Every request was answered exactly once. Call this when nothing waits for a look-up."""
        if self.client.closing is None:
            asked = {ref: count for ref, count in self._answered.items() if ref in self._asked}
            assert asked == self._asked


class Side(ABC):
    """A bridge with one client, to which things happen one after the other.

    Attributes:
        walker: The client.
    """

    walker: Walker

    @abstractmethod
    def wait(self, pending: Any) -> None:
        """Have a request answered later, since something is looked up for it."""

    def take(self, step: Any) -> None:
        """Let something happen: a message of the client, or the call of a method, with its name and arguments."""
        if isinstance(step, Message):
            pending = self.walker.send(step)
            if pending is not None:
                self.wait(pending)
        else:
            getattr(self, step[0])(*step[1:])

    def expire(self) -> None:
        self.walker.expire()

    def abuse(self) -> None:
        for _ in range(20):
            self.take(Message("x", None))

    def time(self, seconds: float) -> None:
        self.walker.now += seconds


def steps(
    data: dict[str, st.SearchStrategy[Any]], tokens: st.SearchStrategy[Any], happening: st.SearchStrategy[Any]
) -> st.SearchStrategy[list[Any]]:
    """Return what happens: messages of the client with this data and these tokens, and everything else."""
    sent = messages(data, tokens)
    return st.lists(evenly(sent, sent, happening), min_size=6, max_size=20)
