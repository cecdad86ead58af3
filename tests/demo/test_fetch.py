"""The queue `http` fetches and describes a page on loopback, and refuses everything else before it sends anything."""

from __future__ import annotations

import secrets
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from jobws.demo import fetch
from jobws.demo.fetch import FetchSettings
from jobws.demo.job import JobError
from jobws.demo.loopback import Limits
from tests.support.web_pages import Pages, page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Serve = Callable[[bytes], str]


def run(url: object, limits: Limits | None = None, **data: object) -> dict[str, Any]:
    return fetch.process({"url": url, **data}, FetchSettings(limits or Limits()), lambda _: None)


def test_a_page_is_fetched_and_described() -> None:
    planted = secrets.token_hex()
    with Pages(page(b"x" * 1234, f"X-Planted: {planted}", "X-Two: 1", "X-Two: 2", status="404 Nowhere")) as pages:
        progress: list[object] = []
        result = fetch.process({"url": f"{pages.url}/a?b#c"}, FetchSettings(), progress.append)
    assert pages.asked[0].startswith(b"GET /a?b HTTP/1.1\r\n")
    assert {key: result[key] for key in ("status", "reason", "bytes", "truncated", "redirects", "url")} == {
        **{"status": 404, "reason": "Nowhere", "bytes": 1234, "truncated": False},
        **{"redirects": 0, "url": f"{pages.url}/a?b#c"},
    }
    assert result["headers"] == {"content-length": "1234", "x-planted": planted, "x-two": "1, 2"}
    assert 0 < result["headersMilliseconds"] <= result["totalMilliseconds"] < 15_000  # type: ignore[operator]
    assert progress == [50, 100]


def test_a_redirect_is_followed_and_reported() -> None:
    with (
        Pages(page(b"there")) as target,
        Pages(page(b"", f"Location: {target.url}/x", status="302 Found")) as first,
    ):
        result = run(first.url, method="HEAD")
    assert (result["url"], result["redirects"], result["status"]) == (f"{target.url}/x", 1, 200)
    assert target.asked[0].startswith(b"HEAD /x ")


def test_a_body_is_read_up_to_the_limit() -> None:
    with Pages(page(b"x" * 100_000)) as pages:
        result = run(pages.url, Limits(max_bytes=1000))
    assert (result["bytes"], result["truncated"]) == (1000, True)


@contextmanager
def names(monkeypatch: pytest.MonkeyPatch, addresses: dict[str, list[str]]) -> Iterator[None]:
    """Let names resolve to addresses, since no test may depend on a name server."""
    real = socket.getaddrinfo

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [entry for address in addresses.get(host, [host]) for entry in real(address, port, **options)]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolve)
        yield


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "0.0.0.0", "169.254.169.254", "[::ffff:192.0.2.1]", "outside.test", "mixed.test"]
)
@pytest.mark.parametrize("redirected", [False, True])
def test_only_loopback_is_reached(monkeypatch: pytest.MonkeyPatch, host: str, redirected: bool) -> None:
    known = {"outside.test": ["192.0.2.1"], "mixed.test": ["127.0.0.1", "192.0.2.1"]}
    url = f"http://{host}:1/"
    with (
        names(monkeypatch, known),
        Pages(page(b"", f"Location: {url}", status="301 Moved")) as first,
        pytest.raises(JobError, match="this worker goes to loopback addresses only"),
    ):
        run(first.url if redirected else url)
    assert len(first.asked) == redirected


def test_a_setting_allows_more() -> None:
    """The address 0.0.0.0 shows this: it reaches this machine and is not a loopback address."""
    with Pages(page(b"here")) as pages:
        port = pages.url.rpartition(":")[2]
        assert run(f"http://0.0.0.0:{port}/", Limits(any_address=True))["status"] == 200


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (None, "`url` must be a string"),
        ("file:///etc/passwd", "file:///etc/passwd is no URL of the form"),
        ("http://", "http:// is no URL of the form"),
        ("http://user@127.0.0.1/", "http://user@127.0.0.1/ is no URL of the form"),
        ("http://[::1/", "http://[::1/ cannot be fetched: Invalid IPv6 URL"),
        ("http://127.0.0.1:99999/", "http://127.0.0.1:99999/ cannot be fetched: Port out of range"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1/ cannot be fetched: "),
        ("http://\udcff/", "http://\udcff/ cannot be fetched: "),
    ],
    ids=ascii,
)
def test_what_cannot_be_fetched_says_why(url: object, sentence: str) -> None:
    with pytest.raises(JobError) as caught:
        run(url)
    assert str(caught.value).startswith(sentence)


def test_only_reading_methods_are_sent() -> None:
    with pytest.raises(JobError, match="`method` must be GET or HEAD"):
        run("http://127.0.0.1:1/", method="POST")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (page(b"", "Location: {self}/again", status="302 Found"), "redirects more than 5 times"),
        (b"SSH-2.0-x\r\n", "cannot be fetched"),
        (b"", "cannot be fetched"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "the connection ended before the body did"),
    ],
    ids=["circle", "no-http", "nothing", "half"],
)
def test_a_bad_server_fails_the_job(answer: bytes, sentence: str) -> None:
    with Pages(answer) as pages, pytest.raises(JobError, match=sentence):
        run(pages.url)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", page(b"half")[:-1], b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_falls_silent_does_not_hold_the_worker(answer: bytes) -> None:
    with Pages(answer, end=False) as pages, pytest.raises(JobError, match="took too long to answer"):
        run(pages.url, Limits(timeout_seconds=0.2))
