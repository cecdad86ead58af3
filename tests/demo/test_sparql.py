"""The queue `sparql` and its endpoint: what was inserted is counted and found, and no file or URL can be read."""

from __future__ import annotations

import http.client
import json
import secrets
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest

from jobws.demo.job import JobError
from jobws.demo.loopback import Limits
from jobws.demo.sparql import SparqlSettings, process
from jobws.demo.sparql_endpoint import MAX_REQUEST_BYTES, SparqlEndpoint
from jobws.errors import MissingExtraError
from jobws.protocol.nesting import MAX_LEVELS
from tests.support.nested import nested_list, nested_text
from tests.support.web_pages import Pages, page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("rdflib", reason="the endpoint needs jobws[demo]")


@pytest.fixture
def endpoint() -> Iterator[SparqlEndpoint]:
    with SparqlEndpoint() as endpoint:
        yield endpoint


def run(url: str | None, **data: object) -> dict[str, Any]:
    return process(data, SparqlSettings(url), lambda _: None)


def insert(count: int) -> str:
    return "INSERT DATA {" + "".join(f"<urn:s> <urn:p> {number} ." for number in range(count)) + "}"


def test_an_update_tells_the_triples_before_and_after(endpoint: SparqlEndpoint) -> None:
    count = 1 + secrets.randbelow(50)
    progress: list[object] = []
    result = process({"update": insert(count)}, SparqlSettings(endpoint.url), progress.append)
    assert result == {"endpoint": endpoint.url, "status": 204, "triplesBefore": 0, "triplesAfter": count}
    assert progress == [25, 75, 100]
    assert run(endpoint.url, update=insert(count + 1))["triplesBefore"] == count
    assert run(endpoint.url, update="DELETE WHERE {?s ?p 0}")["triplesAfter"] == count
    assert len(endpoint.triples) == count


def test_the_graph_outlives_the_server() -> None:
    endpoint = SparqlEndpoint()
    with endpoint:
        run(endpoint.url, update=insert(3))
    with endpoint:
        assert run(endpoint.url, update=insert(4))["triplesBefore"] == 3


def test_each_form_of_query_is_answered_in_json(endpoint: SparqlEndpoint) -> None:
    planted = secrets.token_hex()
    run(endpoint.url, update=f'INSERT DATA {{ <urn:s> <urn:p> "{planted} é" }}')
    rows = run(endpoint.url, query="SELECT ?o {?s ?p ?o}")["results"]["results"]["bindings"]
    assert rows == [{"o": {"type": "literal", "value": f"{planted} é"}}]
    assert run(endpoint.url, query="ASK {<urn:s> ?p ?o}")["results"]["boolean"] is True
    linked = run(endpoint.url, query="CONSTRUCT WHERE {?s ?p ?o}")["results"]
    assert linked == [{"@id": "urn:s", "urn:p": [{"@value": f"{planted} é"}]}]


@pytest.mark.parametrize(
    "data",
    [
        {"update": "LOAD <{file}>"},
        {"update": "DELETE WHERE {?s ?p ?o}; LOAD SILENT <{file}> INTO GRAPH <urn:g>"},
        {"update": "INSERT {<urn:s> <urn:p> ?o} WHERE {SERVICE <{file}> {?s ?p ?o}}"},
        {"update": "DELETE {?s ?p ?o} USING <{file}> WHERE {?s ?p ?o}"},
        {"query": "SELECT * FROM <{file}> WHERE {?s ?p ?o}"},
        {"query": "SELECT * FROM NAMED <{file}> WHERE {GRAPH ?g {?s ?p ?o}}"},
        {"query": "SELECT * {?s ?p ?o FILTER NOT EXISTS { SELECT * {SERVICE SILENT <{file}> {?s ?p ?o}} } }"},
    ],
    ids=lambda data: str(*data.values())[:20],
)
def test_nothing_is_read_from_elsewhere(endpoint: SparqlEndpoint, tmp_path: Path, data: dict[str, str]) -> None:
    file = tmp_path / "secret.ttl"
    file.write_text("<urn:secret> <urn:p> 1 .")
    run(endpoint.url, update=insert(2))
    with pytest.raises(JobError, match=r"refused the (update|query) with 400: ValueError: [A-Z]+ is refused"):
        run(endpoint.url, **{key: text.replace("{file}", file.as_uri()) for key, text in data.items()})
    assert len(endpoint.triples) == 2


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "a job needs either an `update` or a `query`"),
        ({"update": "x", "query": "y"}, "a job needs either an `update` or a `query`"),
        ({"update": 5}, "a job needs either an `update` or a `query`"),
        ({"query": "nonsense"}, "refused the query with 400: ParseException: "),
        ({"update": "nonsense"}, "refused the update with 400: ParseException: "),
        ({"query": "\ud800"}, "the query holds a lone surrogate"),
        ({"query": "ASK {}", "endpoint": "http://192.0.2.1/sparql"}, "this worker goes to loopback addresses only"),
        ({"query": "ASK {}", "endpoint": None}, "start the worker with --sparql URL"),
    ],
    ids=ascii,
)
def test_what_cannot_be_asked_says_why(endpoint: SparqlEndpoint, data: dict[str, object], sentence: str) -> None:
    with pytest.raises(JobError) as caught:
        run(endpoint.url, **data)
    assert sentence in str(caught.value)


def test_an_answer_is_nested_as_deep_as_json_may_be() -> None:
    with Pages(page(nested_text(MAX_LEVELS).encode()), end=False) as pages:
        assert run(pages.url, query="ASK {}")["results"] == nested_list(MAX_LEVELS)
    for levels in (MAX_LEVELS + 1, 100_000):
        pages = Pages(page(nested_text(levels).encode()), end=False)
        with pages, pytest.raises(JobError, match="did not answer with JSON"):
            run(pages.url, query="ASK {}")


def test_without_an_endpoint_the_job_says_what_to_do() -> None:
    with pytest.raises(JobError, match="start the worker with --sparql URL, or give the job an `endpoint`"):
        run(None, query="ASK {}")


def test_a_result_that_is_too_large_is_refused(endpoint: SparqlEndpoint) -> None:
    run(endpoint.url, update=insert(100))
    settings = SparqlSettings(endpoint.url, Limits(max_bytes=1000))
    with pytest.raises(JobError, match="answered with more than 1000 bytes; add a LIMIT"):
        process({"query": "SELECT * {?s ?p ?o}"}, settings, lambda _: None)


def test_without_rdflib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(MissingExtraError, match="the SPARQL endpoint needs an extra: pip install 'jobws"):
        SparqlEndpoint()


def _ask(url: str, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, target, body, headers)
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UPDATE = urlencode({"update": insert(1)})


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "status"),
    [
        ("GET", "/sparql?query=ASK%7B%7D", None, {}, 200),
        ("POST", "/sparql", b"query=ASK%7B%7D", FORM, 200),
        ("POST", "/sparql", UPDATE.encode(), FORM, 204),
        ("GET", f"/sparql?{UPDATE}", None, {}, 400),
        ("GET", "/sparql", None, {}, 400),
        ("GET", "/other", None, {}, 404),
        ("PUT", "/sparql", b"", {}, 501),
        ("POST", "/sparql", b"{}", {"Content-Type": "application/json"}, 415),
        ("POST", "/sparql", b"", {"Content-Length": str(MAX_REQUEST_BYTES + 1)}, 413),
        ("POST", "/sparql", UPDATE.encode(), {**FORM, "Origin": "http://127.0.0.1"}, 403),
        ("POST", "/sparql", UPDATE.encode(), {**FORM, "Host": "rebound.test"}, 403),
    ],
)
def test_the_protocol_over_http(
    endpoint: SparqlEndpoint, method: str, target: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    got, answer = _ask(endpoint.url, method, target, body, headers)
    assert (got, len(endpoint.triples)) == (status, 1 if status == 204 else 0)
    if status == 200:
        assert json.loads(answer)["boolean"] is True
