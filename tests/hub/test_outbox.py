"""The outbox: what may wait for a client, and when there is room for more."""

from __future__ import annotations

from jobws.hub.outbox import Outbox
from jobws.protocol.codec import Frame


def test_what_is_held_does_not_stop_what_is_read_back() -> None:
    """Held events are sent after replays, so waiting for them to leave would never end."""
    outbox = Outbox(100, lambda: None)
    assert outbox.hold(b"x" * 60)
    roomy = [outbox.below_low_water]
    outbox.append(Frame(b"x" * 30))
    roomy.append(outbox.below_low_water)
    outbox.when_below_low_water(lambda: roomy.append(outbox.below_low_water))
    assert len(outbox.take()) == 1
    outbox.written()
    assert roomy == [True, False, True]
    outbox.append(Frame(b"x" * 90))
    assert not outbox.overflowed
    outbox.append(Frame(b"x"))
    assert outbox.overflowed


def test_a_tail_that_several_frames_have_counts_until_the_last_is_gone() -> None:
    outbox, tail = Outbox(1000, lambda: None), b"t" * 50
    assert outbox.hold(tail)
    outbox.append(Frame(b"h" * 10, tail))
    assert outbox.size == 60
    outbox.release(tail)
    assert outbox.size == 60
    outbox.append(Frame(b"h" * 10, bytes(bytearray(tail))))
    assert outbox.size == 120, "equal, but another object"
    assert len(outbox.take()) == 2
    assert outbox.size == 120
    outbox.append(Frame(b"h", tail))
    outbox.written()
    assert outbox.size == 51
    assert len(outbox.take()) == 1
    assert outbox.take() == []
    assert outbox.size == 0


def test_what_is_held_beyond_the_limit_overflows() -> None:
    outbox, large = Outbox(100, lambda: None), b"x" * 200
    assert outbox.hold(large), "alone it may have any size"
    outbox.release(large)
    assert outbox.size == 0
    assert outbox.hold(b"x" * 60)
    assert outbox.hold(b"y" * 40)
    assert not outbox.hold(b"z")
    assert (outbox.overflowed, outbox.size) == (True, 100)
    assert not outbox.hold(b"")
    outbox.append(Frame(b"x"))
    assert outbox.take() == [], "nothing may follow the hole"


def test_the_writer_is_woken_for_frames_and_for_the_end() -> None:
    woken: list[bool] = []
    outbox = Outbox(100, lambda: woken.append(True))
    outbox.flush()
    assert woken == []
    outbox.append(Frame(b"x" * 300))
    outbox.flush()
    assert woken == [True]
    outbox.append(Frame(b"x"))
    assert len(outbox.take()) == 1
    outbox.flush()
    assert woken == [True, True]


def test_a_quarter_is_kept_for_answers_and_half_for_what_happens() -> None:
    outbox = Outbox(100, lambda: None)
    assert outbox.has_room(1000)
    outbox.append(Frame(b"x" * 50))
    assert [outbox.below_low_water, outbox.has_room(25), outbox.has_room(26)] == [True, True, False]
    outbox.append(Frame(b"x"))
    assert not outbox.below_low_water
    outbox.take()
    assert [outbox.below_low_water, outbox.has_room(1000)] == [False, False], "it is on its way"
    outbox.written()
    assert [outbox.below_low_water, outbox.has_room(1000)] == [True, True]
    outbox.append(Frame(b"x" * 100))
    outbox.append(Frame(b"x"))
    outbox.take()
    outbox.written()
    assert [outbox.overflowed, outbox.has_room(0)] == [True, False]


def test_a_client_that_waits_for_room_is_called_once_and_as_soon_as_there_is() -> None:
    outbox, told = Outbox(100, lambda: None), []
    outbox.append(Frame(b"x" * 10))
    outbox.take()
    outbox.append(Frame(b"x" * 60))
    outbox.when_below_low_water(lambda: told.append("a"))
    outbox.written()
    outbox.when_below_low_water(lambda: told.append("b"))
    outbox.take()
    assert told == []
    outbox.take()
    assert told == ["a", "b"]
    outbox.append(Frame(b"x" * 60))
    outbox.when_below_low_water(lambda: told.append("c"))
    outbox.take()
    outbox.append(Frame(b"x"))
    assert told == ["a", "b"]
    outbox.written()
    assert told == ["a", "b", "c"]
