"""An authorizer that refuses everything leaves only what is public: no other route, and no request of WebSockets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread
import pytest

from jobws.protocol import requests
from jobws.protocol.log import requests as log_requests
from tests.support.access_operations import OPERATIONS, send, serves
from tests.support.access_table import make_jobs, no_command_names
from tests.support.authorizer import Authorizer, asking_bridge
from tests.support.client import raw_client
from tests.support.http import Answer, exchange
from tests.support.signing import SECRET
from tests.support.tokens import jwt
from tests.support.websocket_operations import HERE
from tests.support.websocket_operations import OPERATIONS as MESSAGES
from tests.support.websocket_operations import send as send_messages

if TYPE_CHECKING:
    from tests.support.redis import Redis

PUBLIC: Final = {
    *("/healthz", "/readyz", "/jobws.js", "/jobws-http.js", "/jobws-all.js", "/jobws-queues.js"),
    *("/elements.js", "/src/{module}", "/src/elements/{module}"),
    *("/", "/page.js", "/page.css", "/page.svg"),
}
WHOAMI: Final = ("GET", "/whoami")
SENTENCE: Final = "the token does not allow this"


TOKEN: Final = jwt("admin", seconds=86_400)
BEARER: Final = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("keys", [{}, {"jwt_secret": SECRET.decode()}], ids=["without-keys", "with-keys"])
async def test_all_that_is_refused_leaves_only_the_public_list(redis: Redis, keys: dict[str, Any]) -> None:
    make_jobs(redis, HERE)
    with Authorizer() as authorizer:
        async with asking_bridge(redis.url, authorizer, **keys) as live:
            with no_command_names(redis, HERE):
                await anyio.to_thread.run_sync(check_routes, live.url)
                for name in MESSAGES:
                    await check_message(live.url, name)
    assert authorizer.asked


def check_routes(url: str) -> None:
    """Each route is public, or refuses a request of the table of access that is for it."""
    for path, item in exchange("GET", url + "/openapi.json", None, {}).content()["paths"].items():
        for method in item:
            route = (method.upper(), path)
            if path in PUBLIC:
                continue
            names = [name for name, operation in OPERATIONS.items() if serves(route, operation)]
            assert names or route == WHOAMI, route
            for name in names:
                check_refusal(name, send(url, name, HERE, TOKEN))
    check_refusal("GET whoami", exchange("GET", url + "/whoami", None, BEARER))
    assert exchange("GET", url + "/readyz", None, BEARER).content() == {"ready": True, "problems": {}}


def check_refusal(name: str, answer: Answer) -> None:
    if answer.status == 403:
        assert answer.content()["code"] == "forbidden"
        return
    # These answer item by item.
    assert name in ("POST lookup", "POST events", "POST ... queue", "POST ... numbers", "POST ... flow"), (name, answer)
    assert answer.status == 200
    assert b'"code":"forbidden"' in answer.body
    told = answer.body.replace(b'"queues":[]', b"")
    assert not [word for word in (b"http", b"sparql", b"returnvalue", b'"ack"') if word in told], answer


async def check_message(url: str, name: str) -> None:
    """Each request is refused, or tells only that the client has nothing."""
    headers = list(BEARER.items())
    async with raw_client(url, headers=headers, path=MESSAGES[name].path, hello=False) as client:
        hello = (await client.receive())["data"]
        assert (hello["queues"], hello["queueCount"]) == ([], 0)
        (text,) = await send_messages(client, name, HERE)
        data = json.loads(text)["data"]
    match name.split(" ")[0]:
        case "ping":
            assert not data["after"]
        case "authenticate":
            assert data["queues"] == []
        case "unsubscribe-job" | "unsubscribe-queue" | "unsubscribe-logs":
            assert data["left"] is False
        case _:
            results = data.get("results", [{"error": data}])
            assert [(each["error"]["code"], each["error"]["message"]) for each in results] == [("forbidden", SENTENCE)]


def test_each_request_is_tried() -> None:
    known = {*requests._KNOWN.split(", "), *log_requests._KNOWN.split(", ")}
    assert known == {name.split(" ")[0] for name in MESSAGES}
