"""The key set of `--jwks-url`: new keys arrive when a token names them, and what fails leaves the keys as they were."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from jobws.access.carrier import Carried, Carrier
from jobws.errors import ConfigurationError, TokenRefusedError, UnknownKeyError
from jobws.server.intervals import USUAL_INTERVALS, Intervals
from jobws.server.key_authentication import KeyAuthentication
from jobws.server.outbound import MAX_BYTES
from jobws.server.settings import Settings
from tests.support import eventually
from tests.support.bridge import BridgeProcess, live_bridge
from tests.support.certificates import certify
from tests.support.http import ask
from tests.support.http_server import Asked, HttpServer, Reply
from tests.support.signing import ec_key, ed_key, jwk, jwks, rsa_key, signed_token
from tests.support.tokens import VALID_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.redis import Redis

ON_DEMAND = Intervals(jwks_seconds=3600, jwks_again_seconds=0)
OFTEN = Intervals(jwks_seconds=0.02, jwks_again_seconds=0.02)
FIRST = jwks(jwk(ed_key(), kid="first"))
ROTATED = {"RS256": rsa_key(), "ES256": ec_key(), "EdDSA": ed_key(1)}
BOTH = jwks(jwk(ed_key(), kid="first"), jwk(ed_key(1), kid="next"))


def token(kid: str, key: object, algorithm: str = "EdDSA") -> str:
    claims = {"scope": "admin", "exp": int(time.time()) + VALID_SECONDS}
    return signed_token({"alg": algorithm, "kid": kid}, claims, key)


OLD, NEW = token("first", ed_key()), token("next", ed_key(1))


class Issuer(HttpServer):
    """Serves `keys`. While `open` is not set, answers wait."""

    def __init__(self, keys: Reply | bytes = FIRST) -> None:
        self.keys = keys
        self.open = threading.Event()
        self.open.set()
        super().__init__(self._answer)

    def _answer(self, _asked: Asked) -> Reply | bytes:
        assert self.open.wait(30)
        return self.keys


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as made:
        yield made
        made.open.set()


@asynccontextmanager
async def running(issuer: Issuer, intervals: Intervals = ON_DEMAND) -> AsyncIterator[KeyAuthentication]:
    keys = KeyAuthentication(Settings(jwks_url=issuer.url), intervals)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keys.run)
        yield keys
        tasks.cancel_scope.cancel()


async def accepts(keys: KeyAuthentication, token: str) -> bool:
    try:
        await keys.identify(Carried(Carrier.HEADER, token))
    except TokenRefusedError:
        return False
    return True


@pytest.mark.parametrize("algorithm", ROTATED)
async def test_a_request_with_a_new_key_is_let_in(algorithm: str, issuer: Issuer, redis: Redis) -> None:
    async with live_bridge(redis.url, intervals=ON_DEMAND, jwks_url=f"{issuer.url}/keys?v=1") as live:

        async def status(token: str) -> int:
            return (await ask(live.url + "/queues", Authorization=f"Bearer {token}"))[0]

        new = token("next", ROTATED[algorithm], algorithm)
        assert [await status(OLD), await status(new)] == [200, 401]
        issuer.keys = jwks(jwk(ROTATED[algorithm], kid="next"))
        assert [await status(new), await status(OLD), await status(new)] == [200, 401, 200]
    assert [asked.path for asked in issuer.asked] == ["/keys?v=1"] * 4


async def test_a_key_that_is_gone_is_accepted_no_more(issuer: Issuer) -> None:
    async with running(issuer, OFTEN) as keys:
        identity = await keys.identify(Carried(Carrier.HEADER, OLD))
        assert keys.is_current(identity)
        issuer.keys = jwks(jwk(ed_key(1), kid="next"))
        await eventually(lambda: not keys.is_current(identity))


async def test_requests_that_come_together_wait_for_one_fetch(issuer: Issuer) -> None:
    async with running(issuer) as keys:
        issuer.keys = BOTH
        issuer.open.clear()
        answers: list[bool] = []

        async def note() -> None:
            answers.append(await accepts(keys, NEW))

        async with anyio.create_task_group() as tasks:
            gone = anyio.CancelScope()

            async def leave() -> None:
                with gone:
                    await note()

            tasks.start_soon(leave)
            await eventually(lambda: len(issuer.asked) == 2)
            for _ in range(20):
                tasks.start_soon(note)
            await anyio.wait_all_tasks_blocked()
            gone.cancel()
            issuer.open.set()
    assert answers == [True] * 20
    assert len(issuer.asked) == 2


async def test_unknown_keys_do_not_flood_the_issuer(issuer: Issuer) -> None:
    """The fetch at the start was less than 30 s ago."""
    async with running(issuer, USUAL_INTERVALS) as keys:
        issuer.keys = BOTH
        for _ in range(3):
            with pytest.raises(UnknownKeyError):
                await keys.identify(Carried(Carrier.HEADER, NEW))
    assert (USUAL_INTERVALS.jwks_again_seconds, len(issuer.asked)) == (30, 1)


FAILURES: dict[str, tuple[Reply, str]] = {
    "error": (Reply([FIRST], 500), "cannot fetch {url}: the answer has status 500"),
    "redirect": (Reply([], 302, {"Location": "/keys"}), "cannot fetch {url}: the answer has status 302"),
    "large": (Reply([b" " * (MAX_BYTES + 1)]), "cannot fetch {url}: the answer has more than 1048576 bytes"),
    "nonsense": (Reply([b"[]"]), "{url}: this is no JSON Web Key Set (it is not a JSON object)"),
    "secret": (
        Reply([jwks({"kty": "oct", "k": "x"})]),
        "{url}: key 1: a secret (oct) does not belong in a key set; give it with --jwt-secret-file",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_fails_leaves_the_keys_as_they_were(
    failure: str, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    reply, sentence = FAILURES[failure]
    problem = sentence.format(url=issuer.url)
    with pytest.raises(ConfigurationError) as refused, Issuer(reply) as bad:
        KeyAuthentication(Settings(jwks_url=bad.url), ON_DEMAND)
    assert str(refused.value) == sentence.format(url=bad.url)
    async with running(issuer, OFTEN) as keys:
        issuer.keys = reply
        await eventually(lambda: keys.problems == (problem,))
        asked = len(issuer.asked)
        await eventually(lambda: len(issuer.asked) > asked + 1)
        assert await accepts(keys, OLD)
        issuer.keys = BOTH
        await eventually(lambda: not keys.problems)
        assert await accepts(keys, NEW)
    errors = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert errors == [f"{problem}; what it held before still counts"]


async def test_a_server_that_does_not_answer_is_given_up(issuer: Issuer) -> None:
    async with running(issuer, ON_DEMAND._replace(fetch_seconds=0.3)) as keys:
        issuer.open.clear()
        assert not await accepts(keys, NEW)
        await eventually(lambda: keys.problems == (f"cannot fetch {issuer.url}: no answer within 0.3 s",))
        assert await accepts(keys, OLD)


async def test_a_server_that_is_gone_is_named_in_the_metrics(issuer: Issuer, redis: Redis) -> None:
    issuer.keys = Reply([], 404)
    with pytest.raises(ConfigurationError):
        KeyAuthentication(Settings(jwks_url=issuer.url), ON_DEMAND)
    issuer.keys = FIRST
    async with live_bridge(redis.url, intervals=OFTEN, jwks_url=issuer.url) as live:
        issuer.keys = Reply([], 404)
        await eventually(lambda: bool(live.bridge.authentication.problems))
        _, metrics = await ask(live.url + "/metrics", Authorization=f"Bearer {OLD}")
    assert "jobws_key_files_unreadable 1.0" in metrics


def test_no_server_at_all() -> None:
    with HttpServer(lambda _: b"") as server:
        url = server.url
    with pytest.raises(ConfigurationError) as refused:
        KeyAuthentication(Settings(jwks_url=url), ON_DEMAND)
    assert str(refused.value) == f"cannot fetch {url}: Connection refused"


def test_the_certificate_of_the_server_must_be_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certify(tmp_path, "localhost")
    certificate = tmp_path / "localhost.pem"
    with HttpServer(lambda _: FIRST, certificate) as server:
        with pytest.raises(
            ConfigurationError, match=r"^cannot fetch https://localhost:\d+: .*CERTIFICATE_VERIFY_FAILED"
        ):
            KeyAuthentication(Settings(jwks_url=server.url), ON_DEMAND)
        assert not server.asked
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert not KeyAuthentication(Settings(jwks_url=server.url), ON_DEMAND).problems


async def test_the_command_takes_the_url(issuer: Issuer, redis: Redis) -> None:
    with BridgeProcess("--port", "0", "--redis", redis.url, "--jwks-url", issuer.url) as bridge:
        url = bridge.started()
        assert (await ask(url + "/queues", Authorization=f"Bearer {OLD}"))[0] == 200
        assert bridge.terminate() == 0
    issuer.keys = Reply([], 503)
    with BridgeProcess("--port", "0", "--redis", redis.url, environment={"JOBWS_JWKS_URL": issuer.url}) as refused:
        assert refused.wait() == 2
    assert refused.lines == [f"jobws: cannot fetch {issuer.url}: the answer has status 503"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/keys", "ftp://127.0.0.1/", "//127.0.0.1/", "keys.json", "", "https://", "https://[::1"),
        *("https://ann:secret@example.com/", "https://example.com/#a", "https://example.com:99999/", "https://a/ b"),
        *("https://exämple.com/", "https://example.com/\n", "http://127.0.0.1\\@example.com/"),
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        KeyAuthentication(Settings(jwks_url=url), ON_DEMAND)
    sentence = "takes an https URL, or an http URL of loopback, in ASCII and without a user, a password or a #"
    assert str(refused.value) == f"--jwks-url {sentence}"
