"""The grammar of scopes: the shared test vectors, and every entry that can be written is read as the same entry."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobws.access.scope import MAX_ENTRIES, Action, Entry, Place, entry_text, parse_entry, parse_scope
from jobws.errors import TokenRefusedError
from jobws.protocol.identifiers import KEY_SUFFIXES
from jobws.tokens import encode
from tests.support.access_vectors import vectors


@pytest.mark.parametrize("each", vectors("segments"), ids=lambda each: ascii(each["text"])[:40])
def test_names_are_written_so_that_they_are_read_back(each: dict[str, str]) -> None:
    assert encode(each["text"]) == each["encoded"]
    entry = parse_entry(f"read:jobs:{each['encoded']}/{each['encoded']}")
    assert entry == Entry(Action.READ_JOB, Place(each["text"], each["text"]))


@pytest.mark.parametrize("each", vectors("scopes"), ids=lambda each: str(each["entry"]))
def test_what_an_entry_means(each: dict[str, Any]) -> None:
    place = each["place"] and Place(each["place"]["queue"], each["place"]["jobId"])
    assert parse_scope(each["entry"]) == (Entry(Action(each["action"]), place),)


@pytest.mark.parametrize("each", vectors("refused"), ids=lambda each: ascii(each["scope"])[:100])
def test_what_refuses_a_token(each: dict[str, Any]) -> None:
    with pytest.raises(TokenRefusedError) as refused:
        parse_scope(each["scope"])
    assert (str(refused.value), refused.value.code) == (each["reason"], "bad-token")


def test_each_action_can_be_written() -> None:
    assert {Action(each["action"]) for each in vectors("scopes")} == {*Action}


@pytest.mark.parametrize("count", [1, 2, MAX_ENTRIES])
def test_a_string_and_a_list_mean_the_same(count: int) -> None:
    entries = [f"read:jobs:http/{number}" for number in range(count)]
    expected = tuple(Entry(Action.READ_JOB, Place("http", str(number))) for number in range(count))
    assert parse_scope(" ".join(entries)) == parse_scope(entries) == expected


texts = st.text(st.one_of(st.sampled_from("*/:% %2Fe\u0301é"), st.characters(exclude_categories=["Cs"])), min_size=1)
names = texts.filter(lambda text: len(text.encode()) <= 512 and text not in KEY_SUFFIXES)
queues = st.none() | names.filter(lambda text: text != "*")
of_jobs = [*(Action.READ_JOB, Action.READ_CHILDREN, Action.RETRY_JOB, Action.PROMOTE_JOB, Action.REMOVE_JOB)]
of_queues = [
    *(Action.READ_QUEUE, Action.SUBMIT, Action.RETRY_QUEUE, Action.PAUSE_QUEUE, Action.RESUME_QUEUE, Action.READ_LOGS)
]
entries = st.one_of(
    st.builds(Entry, st.sampled_from(of_jobs), st.builds(Place, queues, st.none() | names)),
    st.builds(Entry, st.sampled_from(of_queues), st.builds(Place, queues, st.none())),
    st.sampled_from([Action.READ_LOGS, Action.WRITE_LOGS, Action.READ_METRICS, Action.ADMIN]).map(
        lambda action: Entry(action, None)
    ),
)


@given(st.lists(entries, min_size=1, max_size=5))
def test_what_is_written_is_read_back(listed: list[Entry]) -> None:
    text = " ".join(map(entry_text, listed))
    assert text.isascii()
    assert text.isprintable()
    assert parse_scope(text) == tuple(listed)


@given(names, names)
def test_different_names_are_written_differently(first: str, second: str) -> None:
    assert (encode(first) == encode(second)) == (first == second)


near_entries = st.lists(
    st.sampled_from(
        [
            *("read", "write", "admin", "jobs", "queues", "logs", "metrics", "retry", "children", "http", "42"),
            *(":", ":", ":", "/", "*", "%2A", "%", " ", "\n", "é", "active", "x" * 513),
        ]
    ),
    max_size=8,
).map("".join)


@given(st.one_of(near_entries, st.text()))
def test_what_is_accepted_means_what_is_written_of_it(text: str) -> None:
    parsed: tuple[Entry, ...] = ()
    with suppress(TokenRefusedError):  # and no other exception
        parsed = parse_scope(text)
    if parsed:
        assert parse_scope([entry_text(entry) for entry in parsed]) == parsed
        assert json.dumps(text)[1:-1] == text


def test_a_name_that_is_no_text_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode("\ud800")
