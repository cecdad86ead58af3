"""Rooms: what they are called."""

from __future__ import annotations

import pytest

from jobws.protocol.request_types import Room


@pytest.mark.parametrize(
    ("room", "name"),
    [
        (Room("http", "7"), "7"),
        (Room(None, "7"), "7"),
        (Room("http", None), "http"),
        (Room(None, None), "*"),
    ],
)
def test_a_room_is_called_what_a_person_asked_for(room: Room, name: str) -> None:
    assert room.name == name
