"""Answers of an authorizer that are nearly right: what is no plain yes is a no, and nothing is kept for too long."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from jobws.server.authorizer import AuthorizerError, Decision, _decision
from tests.fuzz.mutations import attempt, changed_object, changed_text, evenly, json_values

checks = st.fixed_dictionaries(
    {"allow": st.booleans()}, optional={"ttl": st.sampled_from((0, 0.5, 3600, 3600.1, -1, 1e300))}
)
some_checks = st.lists(evenly(checks, checks, checks, changed_object(checks, ("allow", "ttl"))), min_size=1, max_size=3)
subs = st.sampled_from(("ann", "", "x" * 256, "x" * 257, "\n", "\ud800", None, 7))
expiries = st.sampled_from((0, 1, -1, 2**33, 2**53, 2**53 - 1, 1e15, "1", None, True))
answers = st.fixed_dictionaries({"checks": some_checks}, optional={"sub": subs, "exp": expiries})
nearly = evenly(answers, answers, changed_object(answers, ("checks", "sub", "exp")))
valid = nearly.map(json.dumps)
anything = json_values.map(json.dumps) | st.text(max_size=30)
torn = changed_text(valid, ('"', "{", "}", "[", "]", ",", "true", "1e999", "NaN", "\\ud800"))
bodies = evenly(valid, valid, torn, anything).map(lambda text: text.encode(errors="surrogatepass"))


def allowed(body: bytes) -> list[bool]:
    """Return, for each check of an answer that could be read, whether it has a yes."""
    value: Any = json.loads(body)
    return [check["allow"] is True for check in value["checks"]]


@given(bodies | st.binary(max_size=30), st.integers(1, 3))
def test_only_a_yes_is_a_yes(body: bytes, count: int) -> None:
    decision = attempt(AuthorizerError, partial(_decision, body), count)
    if not isinstance(decision, Decision):
        assert "\n" not in str(decision)
        return
    assert [each is not None and each.allow for each in decision.permissions] == allowed(body)
    assert len(decision.permissions) == count
    assert all(each is not None and 0 <= each.ttl <= 3600 for each in decision.permissions)
    sub, expires_ms = decision.token_info
    assert sub is None or 1 <= len(sub) <= 256
    assert expires_ms is None or 0 <= expires_ms <= 2**53 * 1000
