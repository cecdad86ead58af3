"""A function of the app that mounts the bridge decides what clients may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from jobws.errors import ConfigurationError
from jobws.server import Bridge, Identity, Settings
from tests.support.access_table import make_jobs
from tests.support.http import exchange
from tests.support.mounted import mounted_bridge
from tests.support.tokens import jwt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.redis import Redis

SECRET = "x" * 32
BOTH: dict[str, Any] = {"queues": ("http", "sparql")}


class App:
    """An app with users, of whom each has one job. `asked` is what its function was called with."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, str, str | None, str | None]] = []

    async def authorize(self, identity: Identity, action: str, queue: str | None, job_id: str | None) -> Any:
        self.asked.append((identity.sub, action, queue, job_id))
        if job_id == "crash":
            raise RuntimeError
        if job_id == "slow":
            await anyio.sleep_forever()
        if job_id == "truthy":
            return "yes"
        return (identity.sub, job_id) == ("ann", "1")


async def by_session(headers: Mapping[str, str], _token: str | None) -> Identity | None:
    user = headers.get("x-session")
    return None if user is None else Identity.of(user, "admin")


def codes(url: str, headers: dict[str, str], *paths: str) -> list[object]:
    answers = [exchange("GET", url + path, None, headers) for path in paths]
    return [answer.content().get("code", answer.status) for answer in answers]


def test_the_function_decides_for_clients_of_a_hook(redis: Redis) -> None:
    make_jobs(redis, "1")
    app = App()
    settings: dict[str, Any] = {**BOTH, "authorize_seconds": 5}
    with mounted_bridge(redis.url, "starlette", by_session, app.authorize, **settings) as url:
        ann, bob = {"X-Session": "ann"}, {"X-Session": "bob"}
        paths = ("/jobs/http/1", "/jobs/1", "/jobs/http/2", "/jobs/http/crash", "/jobs/http/truthy", "/queues")
        assert codes(url, ann, *paths) == [200, 200, *["forbidden"] * 4]
        assert codes(url, bob, *paths) == ["forbidden"] * 6
        assert codes(url, {}, "/jobs/http/1") == ["unauthenticated"]
        body = [{"queue": "http", "jobId": job_id} for job_id in ("crash", "1")]
        answer = exchange("POST", url + "/lookup", body, ann).content()
        assert [("error" in each, len(each.get("jobs", ()))) for each in answer["results"]] == [(True, 0), (False, 1)]
    assert app.asked[:3] == [
        ("ann", "read:jobs", "http", "1"),
        ("ann", "read:jobs", "http", "1"),
        ("ann", "read:jobs", "sparql", "1"),
    ]


def test_the_function_has_authorize_seconds_for_a_request(redis: Redis) -> None:
    app = App()
    with mounted_bridge(redis.url, "starlette", by_session, app.authorize, authorize_seconds=0.1, **BOTH) as url:
        assert codes(url, {"X-Session": "ann"}, "/jobs/http/slow") == ["forbidden"]


@pytest.mark.parametrize(
    ("settings", "token", "sub"),
    [
        ({"jwt_secret": SECRET}, jwt("admin", key=SECRET.encode(), sub="ann", seconds=86_400), "ann"),
        ({}, "opaque", None),
    ],
    ids=["keys", "opaque"],
)
def test_the_function_decides_for_tokens_too(
    redis: Redis, settings: dict[str, Any], token: str, sub: str | None
) -> None:
    app = App()
    with mounted_bridge(redis.url, "starlette", None, app.authorize, **settings, **BOTH) as url:
        found = codes(url, {"Authorization": f"Bearer {token}"}, "/jobs/http/1", "/jobs/http/2")
        assert found == ["forbidden" if sub is None else "unknown-job", "forbidden"]
        assert codes(url, {"Authorization": "Bearer x.y"}, "/jobs/http/1") == [
            "forbidden" if sub is None else "bad-token"
        ]
    assert app.asked[0] == (sub, "read:jobs", "http", "1")


AUTHORIZE = App().authorize
PLACE = "authorize takes the place of --authorize-url and of --no-auth: leave them out"


@pytest.mark.parametrize(
    ("settings", "functions", "sentence"),
    [
        ({"auth": False}, {"authorize": AUTHORIZE}, PLACE),
        ({"authorize_url": "https://a"}, {"authorize": AUTHORIZE}, PLACE),
        (
            {"authorize_url": "https://a"},
            {"authenticate": by_session},
            "--authorize-url decides by tokens; beside authenticate, give the bridge authorize",
        ),
    ],
)
def test_what_excludes_the_function_does_not_start(
    settings: dict[str, Any], functions: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Bridge(Settings(**settings), **functions)
    assert str(refused.value) == sentence
