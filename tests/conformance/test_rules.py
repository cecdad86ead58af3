"""Every rule of protocol.md has a vector, and its tables agree with the code."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from jobws.bullmq.events import RESERVED_EVENTS
from jobws.protocol.close_codes import CloseCode, may_return
from jobws.protocol.identifiers import KEY_SUFFIXES
from jobws.server.settings import Settings
from tests.conformance.client_player import load_client_vectors
from tests.conformance.runner import load_vectors, vector_id

ROOT = Path(__file__).parent.parent.parent
PROTOCOL = (ROOT / "protocol.md").read_text(encoding="utf-8")
# Rules that only the bridge can follow or break, or that say what a client may do.
NOT_OF_CLIENTS = {"C1", "C2", "C4", "M3", "J2", "S1", "S2", "S15", "E5", "E6", "E11", "E13"}
# tests/client/test_nesting.py tests how deep a frame may be nested.
NOT_OF_CLIENTS |= {"M6"}
# tests/client/log/test_feed.py and tests/web/test_adapter_logs.py test clients of the log.
NOT_OF_CLIENTS |= {"E9", "E10", *(f"L{number}" for number in range(1, 8))}
# tests/client/connection/ and tests/web/test_adapter_connection.py hold what clients do with their tokens.
NOT_OF_CLIENTS |= {f"A{number}" for number in (1, 2, 3, 6)}
CLIENT_VECTORS = load_client_vectors()
VECTORS = load_vectors("live") + [
    vector for target in ("core", "logs") for vector in load_vectors(target) if vector.get("targets")
]


def section(title: str) -> str:
    return PROTOCOL.split(f"## {title}")[1].split("\n## ")[0]


def test_every_rule_has_a_vector_and_every_vector_a_rule() -> None:
    # Rules of HTTP (H…) have no vectors; `tests/server/http/` tests them.
    rules = set(re.findall(r"^\*\*([A-GI-Z]\d+)\.\*\*", PROTOCOL, re.MULTILINE))
    assert rules == {vector["rule"] for vector in VECTORS}
    assert len(rules) > 30
    assert rules - NOT_OF_CLIENTS == {vector["rule"] for vector in CLIENT_VECTORS}


def test_names_of_vectors_are_unique() -> None:
    for vectors in (VECTORS, CLIENT_VECTORS):
        assert not [name for name, count in Counter(map(vector_id, vectors)).items() if count > 1]


def test_the_table_of_errors_is_the_codes() -> None:
    written = set(re.findall(r"^\| `([a-z-]+)` \|", section("6. Errors") + section("9. HTTP"), re.MULTILINE))
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "src/jobws").rglob("*.py"))
    raised = set(
        re.findall(
            r"(?:RequestError|ItemError|problem|_name)\((?:value, |item.get\(\"sub\"\), )?\s*\"([a-z-]+)\"", source
        )
    )
    assert written == raised


def test_every_error_but_a_defect_has_a_vector() -> None:
    shown = set(re.findall(r'"code": "([a-z-]+)"', str(VECTORS).replace("'", '"')))
    written = set(re.findall(r"^\| `([a-z-]+)` \|", section("6. Errors"), re.MULTILINE))
    assert written - shown == {"internal"}


def test_close_codes_are_told_right() -> None:
    rows = re.findall(r"^\| (\d{4}) \|.*\| (yes|no) \|$", section("7. The end"), re.MULTILINE)
    assert {int(code) for code, _ in rows} <= set(CloseCode)
    assert {code: may_return(int(code)) for code, _ in rows} == {code: answer == "yes" for code, answer in rows}
    shown = {
        step["ends"]
        for vector in CLIENT_VECTORS
        if vector["rule"] == "X1"
        for step in vector["steps"]
        if "ends" in step
    }
    assert set(CloseCode) | {1001, 1005, 1006, 1013, 4499, 4999} <= shown


def test_limits_are_the_settings() -> None:
    settings = Settings()
    for row in section("8. Limits").split("\n")[4:]:
        if not row.startswith("|"):
            continue
        _, _, default, names, _ = row.split("|")
        values = [f"{getattr(settings, name):,.0f}" for name in re.findall(r"`(\w+)`", names)]
        assert values
        assert all(value in default for value in values), row


def test_names_are_listed_in_full() -> None:
    assert (
        set(re.findall(r"`([^`]+)`", section("3. Jobs").split("BullMQ's own keys:")[1].split("**J3")[0]))
        == KEY_SUFFIXES
    )
    listed = section("5. Job events").split("**E3.**")[1].split("is sent")[0]
    assert set(re.findall(r"`([^`]+)`", listed)) == RESERVED_EVENTS


def test_hello_shows_the_defaults() -> None:
    assert f'"maxFrame": {Settings().max_frame_bytes},' in PROTOCOL
