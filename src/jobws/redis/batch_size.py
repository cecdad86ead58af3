"""Computes how many items to ask for, so that a reply has a certain size. Pure."""

from __future__ import annotations


def batch_size(items: int, received_bytes: int, *, wanted_bytes: int, most: int, least: int = 1) -> int:
    """Return how many items to ask for next, so that they have about `wanted_bytes` together.

    Args:
        items: How many items the last reply had. If it had none, the result is `least`.
        received_bytes: The size of these items together. 0 counts as 1.
        wanted_bytes: The size that the next items should have together.
        most: The highest result. It limits the growth after a few small items, which larger ones may follow.
        least: The lowest result.
    """
    return max(least, min(most, wanted_bytes * items // max(received_bytes, 1)))
