"""An authorizer on loopback, and bridges that ask it."""

from __future__ import annotations

import json
import threading
from base64 import urlsafe_b64decode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from jobws.access.identity import Rights
from jobws.access.scope import Action, parse_scope
from tests.support.bridge import live_bridge
from tests.support.http import call
from tests.support.http_server import Asked, HttpServer, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from tests.support.bridge import Live
    from tests.support.client import RawClient


class Question(NamedTuple):
    """One check that the authorizer was asked, and with which token."""

    token: str | None
    action: str
    queue: str | None
    job_id: str | None


ANN = {"Authorization": "Bearer ann"}
HEADERS = [*ANN.items()]
JOB = {"queue": "http", "jobId": "1"}
FORBIDDEN = {"code": "forbidden", "message": "the token does not allow this"}


def reads(job_id: str | None, queue: str = "http", token: str = "ann") -> Question:
    return Question(token, "read:jobs", queue, job_id)


SEES = [Question("ann", "read:queues", "http", None), Question("ann", "read:queues", "sparql", None)]


class Authorizer(HttpServer):
    """Answers as a test says. Use it as a context manager.

    Attributes:
        allowed: What it allows, as `ACTION QUEUE/ID`, `ACTION QUEUE`, or `ACTION`; None means everything.
        extra: Further keys of its answers.
        open: While this event is not set, answers wait.
        reply: What it answers in place of all that; None for nothing.
        ttl: For how long its answers are valid; None leaves that out.
    """

    def __init__(self, *allowed: str, ttl: float | None = None) -> None:
        self.allowed: Collection[str] | None = allowed
        self.extra: dict[str, Any] = {}
        self.reply: Reply | None = None
        self.ttl = ttl
        self.open = threading.Event()
        self.open.set()
        super().__init__(self._answer)

    @property
    def posts(self) -> list[list[Question]]:
        """The checks of each POST that came."""
        return [
            [Question(body["token"], each["action"], each["queue"], each["jobId"]) for each in body["checks"]]
            for body in (json.loads(asked.body) for asked in self.asked)
        ]

    def _answer(self, asked: Asked) -> Reply | bytes:
        checks = json.loads(asked.body)["checks"]
        assert self.open.wait(300)
        if self.reply is not None:
            return self.reply
        answers: list[dict[str, Any]] = [{"allow": self._allows(**each)} for each in checks]
        if self.ttl is not None:
            answers = [{**each, "ttl": self.ttl} for each in answers]
        return json.dumps({**self.extra, "checks": answers}).encode()

    def _allows(self, action: str, queue: str | None, jobId: str | None) -> bool:
        if self.allowed is None:
            return True
        place = "" if queue is None else f" {queue}" if jobId is None else f" {queue}/{jobId}"
        return f"{action}{place}" in self.allowed

    def __exit__(self, *args: object) -> None:
        self.open.set()
        super().__exit__(*args)


def scope_authorizer() -> HttpServer:
    """Return an authorizer that allows what the scope of a JWT allows. It does not verify the JWT."""

    def answer(asked: Asked) -> bytes:
        body = json.loads(asked.body)
        payload = body["token"].split(".")[1]
        scope = json.loads(urlsafe_b64decode(payload + "=="))["scope"]
        rights = Rights(parse_scope(scope))
        checks = [(Action(each["action"]), each["queue"], each["jobId"]) for each in body["checks"]]
        return json.dumps({"checks": [{"allow": rights.include(*each)} for each in checks]}).encode()

    return HttpServer(answer)


@asynccontextmanager
async def asking_bridge(redis_url: str, authorizer: Authorizer, **settings: Any) -> AsyncIterator[Live]:
    """A bridge that asks the authorizer, of the queues `http` and `sparql`, and waits long for its answers."""
    usual = {"queues": ("http", "sparql"), "authorize_url": authorizer.url, "authorize_seconds": 300}
    async with live_bridge(redis_url, **{**usual, **settings}) as live:
        yield live


async def get(url: str, **headers: str) -> tuple[int, Any]:
    status, answer = await call("GET", url, **(headers or ANN))
    return status, answer.get("code", answer)


async def answers(client: RawClient, *requests: tuple[str, Any]) -> list[Any]:
    """Send requests together, and return the code or the kind of each answer, by `ref`, in the order in which they
    come.
    """
    for ref, (event, data) in enumerate(requests):
        await client.send(event, data, ref=ref)
    frames: list[Any] = []
    while len(frames) < len(requests):
        if "ref" in (frame := await client.receive()):
            frames.append((frame["ref"], frame["data"].get("code", frame["event"])))
    return frames
