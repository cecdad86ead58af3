"""How much to ask for together: as much as has a certain size, judging by what came last. Pure."""

from __future__ import annotations


def batch_size(items: int, received_bytes: int, *, wanted_bytes: int, most: int, least: int = 1) -> int:
    """How many items to ask for next, so that they have about `wanted_bytes` together.

    Args:
        items: How many came last.
        received_bytes: What those had together.
        wanted_bytes: What the next ones should have.
        most: Not more than that. A caller that has seen few items does not ask for many times as much.
        least: Not less than that.
    """
    return max(least, min(most, wanted_bytes * items // max(received_bytes, 1)))
