"""Prints the results of the demo's jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import anyio.to_thread

if TYPE_CHECKING:
    from rich.console import Console

    from jobws.client import Event

_SHOWN: Final = 3
_LISTED: Final = 6


async def show_persisted(endpoint: str, predicate: str, console: Console) -> None:
    """Print how many triples with `predicate` the SPARQL endpoint has, and the first three: they outlast their job."""
    select = f"SELECT ?subject ?value WHERE {{ ?subject <{predicate}> ?value }} ORDER BY ?subject"
    query = f"{endpoint}?{urlencode({'query': select})}"
    request = Request(query, headers={"Accept": "application/sparql-results+json"})  # noqa: S310 - our own endpoint

    def fetch() -> bytes:
        with urlopen(request, timeout=10) as response:  # noqa: S310 - as above
            content: bytes = response.read()
            return content

    rows = json.loads(await anyio.to_thread.run_sync(fetch))["results"]["bindings"]
    console.print(f"GET {endpoint} still has the {len(rows)} triples:", markup=False)
    for row in rows[:_SHOWN]:
        console.print(f"  {row['subject']['value']} {row['value']['value']}", markup=False)


def show_outcome(event: Event, console: Console) -> None:
    """Print a job's result, or why there is none. `event` is the job's outcome."""
    result: Any = event.data.get("returnvalue")
    match event.event, event.data["queue"]:
        case "completed", "http":
            kind = result["headers"].get("content-type", "an unknown type")
            lines = [f"{result['url']} answered {result['status']}: {result['bytes']} bytes of {kind}"]
        case "completed", "sparql":
            lines = [f"{result['endpoint']} held {result['triplesBefore']} triples, and now {result['triplesAfter']}"]
        case "completed", "techstack":
            languages = [f"{each['name']} ({each['files']} files)" for each in result["languages"]]
            frameworks = [f"{each['name']} {each['version']}" for each in result["frameworks"]]
            lines = [_listed(languages) or "no files of a known language", _listed(frameworks) or "no frameworks"]
        case "completed", _:
            found = ", ".join(f"{result['totals'][level]} {level.lower()}" for level in ("HIGH", "MEDIUM", "LOW"))
            issues = [f"{each['file']}:{each['line']} {each['text'][:80]}" for each in result["issues"][:_SHOWN]]
            lines = [f"bandit found in {result['files']} files: {found}", *issues]
        case _:
            lines = [str(event.data.get("failedReason", "the job was removed"))]
    for number, line in enumerate(lines):
        start = f"{event.data['queue']}: " if number == 0 else "  "
        console.print(f"    {start}{line}", markup=False, highlight=False, soft_wrap=True)


def say_missing(line: str, console: Console) -> None:
    """Print `line`, a sentence that says that something that the demo expected did not come."""
    console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
