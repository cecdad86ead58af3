"""docs/architecture.md is true: its files exist, have the functions that it names, and are those that a trace
passes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.bridge import live_bridge
from tests.support.client import raw_client
from tests.support.documents import ROOT, page

if TYPE_CHECKING:
    from types import FrameType

    from tests.support.redis import Redis

SOURCE = ROOT / "src" / "jobws"
PAGE = page("docs/architecture.md")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def files(text: str) -> list[str]:
    """Return the files that a text names, each one once."""
    return list(dict.fromkeys(re.findall(r"(?<![\w/])[a-z_]+(?:/[a-z_0-9]+)*\.py\b", text)))


class Trace:
    """Records which files of jobws are called, in the order of their first call.

    A context manager, for the calling thread.
    """

    def __init__(self) -> None:
        self.files: dict[str, None] = {}

    def __enter__(self) -> Trace:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, what: str, _: object) -> None:
        file = Path(frame.f_code.co_filename)
        if what == "call" and file.is_relative_to(SOURCE):
            self.files[str(file.relative_to(SOURCE))] = None


@pytest.mark.parametrize("named", [*files(PAGE), *re.findall(r"^\| `([a-z]+)/` \|", PAGE, re.MULTILINE)])
def test_what_is_named_exists(named: str) -> None:
    places = ROOT if named.startswith(("src/", "tests/")) else SOURCE
    assert (places / named).exists()


@pytest.mark.parametrize("row", re.findall(r"^\| `(.*\.py)` \| .* \| (`.*`) \|$", PAGE, re.MULTILINE), ids=str)
def test_what_it_points_at_is_there(row: tuple[str, str]) -> None:
    file, names = row
    code = (SOURCE / file).read_text("utf-8")
    for name in re.findall(r"`(\w+)`", names):
        assert re.search(rf"^\s*(?:async def|def|class) {name}\b", code, re.MULTILINE), name


async def test_an_event_and_a_subscription_pass_the_files_that_are_named(redis: Redis) -> None:
    redis.make_queue("http")
    redis.add_job("http", "42", state="active")
    async with live_bridge(redis.url) as live, raw_client(live.url) as client:
        await client.ask("ping")
        with Trace() as trace:
            assert (await client.ask("subscribe-job", {"jobId": "42", "queue": "http"}))["event"] == "ack"
            check("subscription", trace, most=15)
        # After this entry was read, everything that the subscription started is over.
        await client.read_up_to("http", redis.add_event("http", "waiting", "1"))
        with Trace() as trace:
            sent = redis.add_event("http", "completed", "42", returnvalue="1")
            assert (await client.receive())["id"] == sent
            check("event", trace, most=10)


def check(kind: str, trace: Trace, most: int) -> None:
    """Check that the trace passed each file of the table, at most `most` of them, and none that the page does not
    name.
    """
    passed = set(trace.files)
    rows = re.findall(r"^\| `(.*\.py)` \| .* \| `.*` \|$", section(f"The way of one {kind}"), re.MULTILINE)
    print(f"one {kind} passed {len(passed)} files, {len(rows)} of them on its way:", *trace.files)
    assert 5 < len(rows) <= most
    assert set(rows) <= passed
    assert passed <= set(files(PAGE))
