"""Strategies for texts and JSON values that are nearly valid, and a way to call what may refuse them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Argument = TypeVar("Argument")
    Result = TypeVar("Result")
    Drawn = TypeVar("Drawn")
    Refusal = TypeVar("Refusal", bound=Exception)

SPECIAL = (0, -1, 2**53, 10**30, "", "*", "\0", "\u2028", "\ud800", "x" * 1000)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(SPECIAL)
    | st.text(st.characters(codec=None), max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)
"""JSON values of any kind. `NaN` and lone surrogates, which JSON does not have, are among them."""


def attempt(error: type[Refusal], function: Callable[[Argument], Result], argument: Argument) -> Result | Refusal:
    """Call the function. Return its result, or the error if it raises one of this type."""
    try:
        return function(argument)
    except error as refusal:
        return refusal


def evenly(*strategies: st.SearchStrategy[Drawn]) -> st.SearchStrategy[Drawn]:
    """Return values of the strategies, of each one as often. `|` would give this share to each branch of a strategy."""
    return st.sampled_from(strategies).flatmap(lambda each: each)


@st.composite
def changed_text(draw: st.DrawFn, texts: st.SearchStrategy[str], inserted: Sequence[str]) -> str:
    """Return one of the texts with up to three changes. What is put in is mostly one of `inserted`."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 3))):
        # The two ends are tried often: a token's last character has bits that mean nothing.
        places = st.integers(0, len(text)) | st.sampled_from((0, max(0, len(text) - 1), len(text)))
        at, end = sorted((draw(places), draw(places)))
        put_in = draw(st.sampled_from(inserted) | st.text(max_size=2))
        match draw(st.sampled_from(("insert", "replace", "delete", "cut", "repeat"))):
            case "insert":
                text = text[:at] + put_in + text[at:]
            case "replace":
                text = text[:at] + put_in + text[at + 1 :]
            case "delete":
                text = text[:at] + text[at + 1 :]
            case "cut":
                text = text[:at] + text[end:]
            case _:
                text = text[:end] + text[at:]
    return text


@st.composite
def changed_object(draw: st.DrawFn, objects: st.SearchStrategy[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Return one of the objects with up to two members changed, removed or added. `names` are those that count."""
    value = dict(draw(objects))
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(names))
        if draw(st.integers(0, 3)):
            value[name] = draw(evenly(st.sampled_from(SPECIAL), json_values))
        else:
            value.pop(name, None)
    return value
