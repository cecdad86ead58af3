"""Plays the vectors for clients against the Python and the JavaScript client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.conformance.client_player import HELLO, Player, load_client_vectors
from tests.conformance.clients import javascript_client, python_client
from tests.conformance.runner import vector_id
from tests.support import EVENTUALLY_SECONDS
from tests.support.fake_bridge import fake_bridge

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.conformance.client_player import Client
    from tests.conformance.runner import Vector


@pytest.mark.parametrize("made", [python_client, javascript_client], ids=["python", "javascript"])
@pytest.mark.parametrize("vector", load_client_vectors(), ids=vector_id)
async def test_a_client_keeps_the_rule(
    vector: Vector, made: Callable[[str], AbstractAsyncContextManager[Client]]
) -> None:
    async with fake_bridge(**{**HELLO, **vector.get("hello", {})}) as bridge, made(bridge.url) as client:
        with trio.fail_after(EVENTUALLY_SECONDS):
            await Player(bridge, client, await bridge.accept()).play(vector)
