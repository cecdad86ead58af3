"""Strategies for the messages of a client: valid requests, requests with something changed, and anything else."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from jobws.protocol.close_codes import CloseCode
from tests.fuzz.mutations import changed_object, changed_text, evenly, json_values
from tests.support.documents import page

SCOPES: Final = {
    "nothing": "write:logs",
    "other job": "read:jobs:http/2 write:jobs:http",
    "other jobs": "read:jobs:*/2:children read:queues:*",
    "other queue": "read:jobs:sparql read:logs:sparql read:queues:http",
    "the job": "read:jobs:http/1 read:logs:http",
    "the job anywhere": "read:jobs:*/1 read:logs:*",
    "the queue": "read:jobs:http read:logs",
    "everything": "admin",
}
"""The scopes of some tokens, by the texts that stand for the tokens."""
HIDING: Final = ("nothing", "other job", "other jobs", "other queue")
"""The tokens that give no right to job 1 of the queue `http`, nor to lines of this queue."""


class Message(NamedTuple):
    """A message of a client. `ref` is the `ref` in it if it is known what that is, otherwise None."""

    payload: str | bytes
    ref: str | None


job_ids = st.sampled_from(("1", "1", "1", "2", 1, "stranger", "", "active", "é", 2**60, 1.5, None))
queues = st.sampled_from(("http", "http", "sparql", "none", "*", 5))
positions = st.sampled_from(
    ("0-0", "1000000-0", "1000005-0", "18446744073709551615-18446744073709551615", "1-0~x", "x")
)
afters = st.dictionaries(st.sampled_from(("http", "sparql", "none")), positions, max_size=2) | positions
logs = st.booleans() | st.fixed_dictionaries({}, optional={"after": afters})
events = st.lists(st.sampled_from(("*", "completed", "failed", "progress", "x", "")), max_size=3)
subs = st.sampled_from((None, 0, 1, "a", "a", 2**53, True, "\ud800"))
options = {"queue": queues, "events": events, "until": st.just("end"), "after": afters, "logs": logs, "sub": subs}
item_objects = st.fixed_dictionaries({"jobId": job_ids}, optional=options)
right_options = {
    **{
        "queue": st.sampled_from(("http", "http", "sparql")),
        "events": st.sampled_from((["*"], ["completed"])),
    },
    **{
        "until": st.just("end"),
        "after": st.just({"http": "1000000-0"}),
        "logs": st.just(True),
        "sub": st.integers(0, 3),
    },
}
right_items = st.fixed_dictionaries({"jobId": st.sampled_from(("1", "1", "2"))}, optional=right_options)
items = evenly(right_items, right_items, job_ids, item_objects, changed_object(item_objects, ("jobId", *options)))
whole_queues = queues | st.fixed_dictionaries(
    {"queue": queues}, optional={"events": events, "after": afters, "sub": subs}
)
lists = st.lists(items, max_size=4)
commons = evenly(right_items, item_objects)
jobs = evenly(items, items, lists, st.builds(lambda jobs, common: {**common, "jobs": jobs}, lists, commons))
texts = st.sampled_from(("x", "of http", "", "y" * 1025))
filters = st.fixed_dictionaries(
    {},
    optional={
        **{"queue": queues | st.lists(queues, max_size=2), "source": texts, "jobId": job_ids, "text": texts},
        **{"level": st.sampled_from(("info", "warn", "x")), "tail": st.sampled_from((0, 1, 3, -1)), "after": positions},
    },
)
tokens = st.fixed_dictionaries({"token": st.sampled_from((*SCOPES, "guess", "", 7))})
data_of_jobs = {
    **{"subscribe-job": jobs, "unsubscribe-job": jobs, "subscribe-queue": whole_queues},
    **{"unsubscribe-queue": whole_queues, "ping": json_values, "authenticate": tokens},
}
data_of_logs = {
    **{"subscribe-logs": filters | changed_object(filters, ("queue", "jobId", "tail", "after", "text", "level"))},
    **{"unsubscribe-logs": json_values, "ping": json_values, "authenticate": tokens},
}


def messages(
    data: dict[str, st.SearchStrategy[Any]], authenticating: st.SearchStrategy[Any]
) -> st.SearchStrategy[Message]:
    """Return the messages for a path: the strategy of `data` for each event. Tokens are of `authenticating`."""
    data = {**data, "authenticate": st.fixed_dictionaries({"token": authenticating})}
    envelopes = st.sampled_from([*data, "authenticate"]).flatmap(
        lambda event: st.fixed_dictionaries({"event": st.just(event), "data": data[event]})
    )
    refs = st.integers(0, 10**9).map("r{}".format)
    valid = st.builds(_request, envelopes, refs)
    changed = changed_object(envelopes, ("event", "data", "ref", "ref", "sub")).map(json.dumps)
    torn = changed_text(envelopes.map(json.dumps), ('"', "{", "}", "[", "]", ",", ":", "\\ud800", "1e999", "\0"))
    anything = json_values.map(json.dumps) | st.text(st.characters(codec=None), max_size=30) | st.binary(max_size=30)
    wrong = [each.map(lambda payload: Message(payload, None)) for each in (changed, changed, torn, anything)]
    return evenly(*[valid] * len(wrong), *wrong)


def _request(envelope: dict[str, Any], ref: str) -> Message:
    text = json.dumps({**envelope, "ref": ref})
    try:
        json.dumps(envelope, allow_nan=False)
    except ValueError:  # NaN is no JSON, so nobody can read the `ref`
        return Message(text, None)
    return Message(text, ref)


def _rows(title: str) -> set[str]:
    section = page("protocol.md").split(f"## {title}")[1].split("\n## ")[0]
    return {line.split("|")[1].strip(" `") for line in section.splitlines() if line.startswith("| ")} - {"code", "what"}


ERROR_CODES: Final = _rows("6. Errors") - {"internal"}
"""The codes of errors in protocol.md, without that of a defect."""
CLOSE_CODES: Final = {int(code) for code in _rows("7. The end of a connection") if code.isdigit()} & {*CloseCode}


def check_frame(frame: dict[str, Any]) -> None:
    """A frame has the form of protocol.md, and each error in it has a documented code."""
    assert isinstance(frame["event"], str)
    data = frame["data"]
    errors = [data] if frame["event"] == "error" else []
    if frame["event"] == "ack":
        errors += [result["error"] for result in data.get("results", []) if "error" in result]
    for error in errors:
        assert error["code"] in ERROR_CODES, error
        assert error["message"]
