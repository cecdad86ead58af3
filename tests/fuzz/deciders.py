"""What may decide what clients may do: the scopes of tokens, a server that is asked, or a function of the app."""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jobws.access.identity import Rights
from jobws.access.scope import Action, parse_scope
from tests.support.http_server import Asked, HttpServer
from tests.support.signing import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobws.server import Identity
    from jobws.server.authorizer import Authorize

DECIDERS: Final = ("scopes", "server", "server without keys", "function")
KEYS: Final[dict[str, Any]] = {"jwt_secret": SECRET.decode()}
# On a busy machine an answer may take long, and a late one would be a no.
PATIENT: Final[dict[str, Any]] = {"authorize_seconds": 60}


class Decider(NamedTuple):
    """How to make the bridge: its settings and the function of the app.

    `verifies` says whether keys refuse tokens. If not, those that nobody knows may do nothing.
    """

    settings: dict[str, Any]
    authorize: Authorize | None = None
    verifies: bool = True
    asks: bool = True


@contextmanager
def decided(kind: str, tokens: Mapping[str, str]) -> Iterator[Decider]:
    """Yield one of `DECIDERS`, which allows what the scope of a token says. `tokens` has the scopes."""
    rights = {token: Rights(parse_scope(scope)) for token, scope in tokens.items()}
    numbers = count()

    def answer(asked: Asked) -> bytes:
        body = json.loads(asked.body)
        known = rights.get(body["token"], Rights())
        checks = [(Action(each["action"]), each["queue"], each["jobId"]) for each in body["checks"]]
        # Some answers are kept, and some are not.
        ttl = (0, 0.01, 3600)[next(numbers) % 3]
        return json.dumps({"checks": [{"allow": known.include(*each), "ttl": ttl} for each in checks]}).encode()

    async def authorize(identity: Identity, action: str, queue: str | None, job_id: str | None) -> bool:
        return identity.rights.include(Action(action), queue, job_id)

    if kind == "scopes":
        yield Decider(KEYS, asks=False)
    elif kind == "function":
        yield Decider({**KEYS, **PATIENT}, authorize)
    else:
        verifies = kind == "server"
        with HttpServer(answer) as server:
            yield Decider({"authorize_url": server.url, **PATIENT, **(KEYS if verifies else {})}, verifies=verifies)
