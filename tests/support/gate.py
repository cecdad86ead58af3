"""An authorizer whose answers a test chooses, a gate that asks it, and a hub, on a clock of the test."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import trio
import trio.testing

from jobws.access.asked import AskedRights, Check, TokenInfo
from jobws.access.asked_sight import AskedSight
from jobws.access.identity import Identity, allows
from jobws.access.scope import Action
from jobws.server.authorizer import AuthorizerError, Decision, Permission
from jobws.server.gate import Gate
from jobws.server.judging import judge
from jobws.server.reasking import Reasking
from jobws.server.tasks import Tasks
from tests.hub.one_bridge import Bridge, Client
from tests.support.sight import identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jobws.access.asked import Subject

FORBIDDEN = {"code": "forbidden", "message": "the token does not allow this"}
ANN = identity()


class Authorizer:
    """Answers as a test says.

    Attributes:
        allowed: The queues in which jobs may be read.
        ttl: For how long its answers are valid.
        token_info: What it says of each token.
        fails: Whether it gives no answer at all.
        failing: The job ids about which it gives no answer.
        held: While this event is there, answers wait for it.
        held_tokens: The tokens for which no answer comes.
        seconds: How long each answer takes.
        asked: What it was asked, and when.
    """

    def __init__(self, *allowed: str, ttl: float = 0) -> None:
        self.allowed = set(allowed)
        self.ttl = ttl
        self.token_info = TokenInfo(None, None)
        self.fails = False
        self.failing: set[str] = set()
        self.held: anyio.Event | None = None
        self.held_tokens: set[str] = set()
        self.seconds = 0.0
        self.asked: list[tuple[float, Sequence[Check]]] = []

    async def decide(self, subject: Subject, checks: Sequence[Check]) -> Decision:
        self.asked.append((round(anyio.current_time() - self.begun, 1), checks))
        if self.held is not None:
            await self.held.wait()
        if self.seconds:
            await anyio.sleep(self.seconds)
        if subject.token in self.held_tokens:
            await anyio.sleep_forever()
        if self.fails:
            raise AuthorizerError("it is broken")
        return Decision([self._permission(each) for each in checks], self.token_info)

    def _permission(self, check: Check) -> Permission | None:
        return None if check.job_id in self.failing else Permission(check.queue in self.allowed, self.ttl)

    def begin(self) -> None:
        self.begun = anyio.current_time()

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.asked]


class World:
    """A gate, a hub with the queues `http` and `analyzer`, and what asks again about its clients.

    Attributes:
        unknown: Queues that are found when somebody waits for the scan.
        doubted: The queues whose outcomes a client may have missed.
    """

    def __init__(self, authorizer: Authorizer) -> None:
        authorizer.begin()
        self.authorizer = authorizer
        self.hub = Bridge()
        self.gate = Gate(authorizer, self.hub.queues, self._scanned)
        self.clients: list[Client] = []
        self.doubted: list[str] = []
        self.unknown: list[str] = []

    async def _scanned(self) -> None:
        """Find the queues that are not known yet."""
        await anyio.lowlevel.checkpoint()
        while self.unknown:
            self.hub.open(self.unknown.pop())

    def rights(self, token: bytes = b"ann") -> Identity:
        return self.gate.of(replace(ANN, token_hash=token, sub=token.decode()), token.decode())

    async def may_read(self, queue: str = "http", job_id: str = "1", token: bytes = b"ann") -> bool:
        """Judge a request to read a job."""

        def look(each: Identity) -> bool:
            return allows(each, Action.READ_JOB, queue, job_id)

        return look(await judge(self.rights(token), look))

    async def client(self, *subscriptions: object, token: bytes = b"ann") -> Client:
        """Return a client with subscriptions that were judged and answered."""
        client = Client(self.hub)
        rights = self.rights(token).rights
        assert isinstance(rights, AskedRights)
        client.hub_client.session.sight = AskedSight(rights)
        self.clients.append(client)
        for each in subscriptions:
            await self.subscribe(client, each)
        return client

    async def subscribe(self, client: Client, data: Any) -> None:
        await self.judge(client, data)
        client.subscribe(data)

    async def judge(self, client: Client, data: Any) -> None:
        sight = client.hub_client.session.sight
        assert isinstance(sight, AskedSight)
        assert isinstance(sight.rights, AskedRights)
        message = json.dumps({"event": "subscribe-job", "data": data})
        await sight.rights.judge(lambda each: client.hub_client.session.rehearse(message, AskedSight(each)))

    async def ask_again(self, seconds: float) -> None:
        """Ask again about the clients, for some seconds."""
        tasks = Tasks()
        members = lambda: [each.hub_client for each in self.clients]  # noqa: E731
        again = Reasking(self.gate, self.hub.queues, members, self.doubted.append, tasks)
        async with anyio.create_task_group() as group:
            tasks.begin(group)
            group.start_soon(again.run)
            await anyio.sleep(seconds)
            group.cancel_scope.cancel()


def on_test_clock(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test with a clock that jumps to the next time at which something happens."""

    @wraps(test)
    def run(**arguments: Any) -> None:
        trio.run(partial(test, **arguments), clock=trio.testing.MockClock(autojump_threshold=0))

    return run
