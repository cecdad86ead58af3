"""Rules are read strictly: one that would hide nothing is an error, and says what to write."""

from __future__ import annotations

from typing import Any

import pytest

from jobws.errors import ConfigurationError
from jobws.privacy.parse import parse_privacy
from jobws.privacy.rules import Privacy, QueueRules

QUEUES = {"http": "http", "label": "name", "a:b": "c"}
ONLY = ("only data, progress, returnvalue have paths;", "and %2E for a dot in a name")


def parse(
    *redact: str,
    no_results: tuple[str, ...] = (),
    show_data: tuple[str, ...] = (),
    show_stacktraces: tuple[str, ...] = (),
    discovers: bool = False,
) -> Privacy:
    return parse_privacy(redact, no_results, show_data, show_stacktraces, QUEUES, discovers=discovers)


@pytest.mark.parametrize(
    ("rule", "label", "redacted"),
    [
        ("http:data", "http", {"data": {}}),
        ("http:data.password", "http", {"data": {"password": {}}}),
        ("http:returnvalue.*.user.0", "http", {"returnvalue": {None: {"user": {"0": {}}}}}),
        ("http:failedReason", "http", {"failedReason": {}}),
        ("http:logs", "http", {"logs": {}}),
        ("http:token", "http", {"token": {}}),
        ("http:to%2Eken%3A", "http", {"to.ken:": {}}),
        ("http:progress.%2A.a%2Eb.%25.%C3%A9é", "http", {"progress": {"*": {"a.b": {"%": {"éé": {}}}}}}),
        ("a:b:data", "a:b", {"data": {}}),
        ("http:progress." + "a." * 31 + "a", "http", None),
    ],
)
def test_a_rule(rule: str, label: str, redacted: dict[str, Any] | None) -> None:
    rules = parse(rule).of(label)
    assert rules is not None
    assert redacted is None or rules == QueueRules(redacted)
    assert {other for other in (*QUEUES, "x") if parse(rule).of(other) is not None} == {label}


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        *(
            (text, f"--redact takes QUEUE:FIELD or QUEUE:FIELD.path, as http:data.password, not {text}")
            for text in ("", "http", ":data", "http:", "http:data.", "http:data..x", "http:.x", "data.password")
        ),
        ("htpp:data", 'the bridge has no queue "htpp"; its queues are http, label, a:b'),
        ("name:data", 'the bridge has no queue "name"; its queues are http, label, a:b'),
        ("http:*", "name the field; * stands for queues, and for keys in a path"),
        ("http:da*", "name the field; * stands for queues, and for keys in a path"),
        ("http:jobId", "clients need jobId to know which event of which job they get"),
        ("http:event", "clients need event to know which event of which job they get"),
        ("http:queue.x", "clients need queue to know which event of which job they get"),
        ("http:returnValue", "is returnvalue meant? Upper and lower case differ"),
        ("http:failedreason", "is failedReason meant? Upper and lower case differ"),
        ("http:Logs", "is logs meant? Upper and lower case differ"),
        ("http:failedReason.x", f"{ONLY[0]} write http:failedReason, {ONLY[1]}"),
        ("http:logs.x", f"{ONLY[0]} write http:logs, {ONLY[1]}"),
        ("http:to.ken", f"{ONLY[0]} write http:to, {ONLY[1]}"),
        ("http:data.a*", "a * is a part of a path by itself; %2A is a star in a key"),
        ("http:data.**.x", "a * is a part of a path by itself; %2A is a star in a key"),
        ("http:data.%", "a % needs two hexadecimal digits after it; %25 is a % itself"),
        ("http:a%2", "a % needs two hexadecimal digits after it; %25 is a % itself"),
        ("http:data.%FF", "what %XX stands for must be UTF-8"),
        ("http:data.\udcff", "what %XX stands for must be UTF-8"),
        ("http:data." + "a." * 32 + "a", "a path may have 32 parts, this one has 33"),
    ],
)
def test_a_rule_that_is_wrong(rule: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(rule)
    assert str(refused.value) == (sentence if sentence.startswith("--redact") else f"--redact {rule}: {sentence}")


@pytest.mark.parametrize("flag", ["no_results", "show_data", "show_stacktraces"])
def test_an_unknown_queue(flag: str) -> None:
    shown = "--" + flag.replace("_", "-")
    arguments: dict[str, Any] = {flag: ("htpp",)}
    with pytest.raises(ConfigurationError) as refused:
        parse(**arguments)
    assert str(refused.value) == f'{shown} htpp: the bridge has no queue "htpp"; its queues are http, label, a:b'
    assert parse(**arguments, discovers=True).of("htpp") is not None
    with pytest.raises(ConfigurationError) as refused:
        parse_privacy([], [""], [], [], {}, discovers=True)
    assert str(refused.value) == '--no-results : the bridge has no queue ""; its queues are not known yet'


def test_rules_for_every_queue_are_added_to_those_of_one() -> None:
    privacy = parse("*:data.a", "http:data.b", "http:token", no_results=("label",), show_data=("*",))
    assert privacy.of("http") == QueueRules({"data": {"a": {}, "b": {}}, "token": {}}, shows_data=True)
    assert privacy.of("label") == QueueRules({"data": {"a": {}}}, shows_results=False, shows_data=True)
    assert privacy.of("found later") == QueueRules({"data": {"a": {}}}, shows_data=True)
    assert parse(no_results=("*",)).of("x") == QueueRules(shows_results=False)


@pytest.mark.parametrize(
    ("hiding", "is_shown"),
    [
        ({}, True),
        ({"redact": ("http:returnvalue",)}, True),
        ({"redact": ("http:failedReason",)}, False),
        ({"redact": ("*:failedReason",)}, False),
        ({"redact": ("http:stacktrace",)}, False),
        ({"no_results": ("*",)}, False),
    ],
)
def test_a_stack_trace_is_shown_only_where_its_reason_is(hiding: dict[str, Any], is_shown: bool) -> None:
    rules = parse(*hiding.pop("redact", ()), **hiding, show_stacktraces=("*",)).of("http")
    assert rules is not None
    assert rules.shows_stacktraces is is_shown


def test_lines_of_the_log_are_hidden_by_the_label_and_by_the_name_of_their_queue() -> None:
    privacy = parse("label:logs", "http:data")
    hidden = {name for name in ("label", "name", "http", "c", None) if privacy.hides_log_lines(name)}
    assert hidden == {"label", "name"}
    assert {label for label in QUEUES if privacy.hides_lines(label)} == {"label"}
    assert parse("*:logs").hides_log_lines("any")
    assert not parse("*:logs").hides_log_lines(None)
    assert not Privacy().hides_log_lines("label")
