"""What may wait for a client, and when there is room for more."""

from __future__ import annotations

from jobws.hub.outbox import Outbox
from jobws.protocol.codec import Frame


def test_what_is_held_does_not_stop_what_is_read_back() -> None:
    """It goes out behind that: waiting for it would be waiting for ever."""
    outbox = Outbox(100, lambda: None)
    assert outbox.hold(b"x" * 60)
    roomy = [outbox.roomy]
    outbox.append(Frame(b"x" * 30))
    roomy.append(outbox.roomy)
    outbox.when_roomy(lambda: roomy.append(outbox.roomy))
    assert len(outbox.take()) == 1
    outbox.written()
    assert roomy == [True, False, True]
    outbox.append(Frame(b"x" * 90))
    assert not outbox.overflowed
    outbox.append(Frame(b"x"))
    assert outbox.overflowed
