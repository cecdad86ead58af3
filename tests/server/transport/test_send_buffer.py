"""The send buffer: whatever the socket takes, whole frames leave in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from jobws.server.transport.send_buffer import SendBuffer

if TYPE_CHECKING:
    from collections.abc import Sequence


class Socket:
    """A socket that takes as many bytes as a test says, then blocks, then breaks."""

    def __init__(self, appetites: list[int]) -> None:
        self.appetites = appetites
        self.taken = bytearray()
        self.broken = False

    def send_pieces(self, pieces: Sequence[bytes | memoryview]) -> int:
        return self.send(b"".join(pieces))

    def send(self, data: bytes | memoryview) -> int:
        if self.broken:
            raise BrokenPipeError
        appetite = self.appetites.pop(0) if self.appetites else 0
        if not appetite:
            raise BlockingIOError
        self.taken += data[:appetite]
        return min(appetite, len(data))


BYTES = st.binary(min_size=1, max_size=300)
PIECES = st.tuples(BYTES, st.none() | BYTES.map(lambda tail: memoryview(tail)))
FRAMES = st.lists(PIECES.map(lambda pieces: [piece for piece in pieces if piece is not None]), min_size=1, max_size=6)
STEPS: st.SearchStrategy[list[tuple[str, list[Any]]]] = st.lists(
    st.one_of(st.tuples(st.just("write"), FRAMES), st.just(("resume", [])), st.just(("drop", []))), max_size=30
)


@given(steps=STEPS, appetites=st.lists(st.integers(0, 700), max_size=60))
def test_frames_leave_whole_and_in_order(
    steps: list[tuple[str, list[list[bytes | memoryview]]]], appetites: list[int]
) -> None:
    socket = Socket(appetites)
    buffer = SendBuffer(socket.send, socket.send_pieces)
    expected = b""  # everything that must leave
    ends = [0]  # the ends of its frames
    for step, frames in steps:
        match step:
            case "write":
                for frame in frames:
                    expected += b"".join(frame)
                    ends.append(len(expected))
                assert buffer.write([piece for frame in frames for piece in frame]) == (buffer.waiting == 0)
            case "resume":
                assert buffer.resume() == (buffer.waiting == 0)
            case _:
                buffer.drop()
                # A frame that has begun to leave goes on. The others are dropped.
                end = min(end for end in ends if end >= len(socket.taken))
                expected, ends = expected[:end], [each for each in ends if each <= end]
        assert bytes(socket.taken) == expected[: len(socket.taken)]
        assert buffer.waiting == len(expected) - len(socket.taken)
    socket.appetites = [1 << 20] * 100
    assert buffer.resume()
    assert bytes(socket.taken) == expected


def test_a_peer_that_is_gone_costs_nothing_more() -> None:
    socket = Socket([2])
    buffer = SendBuffer(socket.send, socket.send_pieces)
    assert not buffer.write([b"abc", b"def"])
    socket.broken = True
    assert not buffer.resume()
    assert (buffer.broken, buffer.waiting) == (True, 0)
    assert not buffer.write([b"ghi"])
    assert buffer.waiting == 0
    assert bytes(socket.taken) == b"ab"


def test_large_frames_are_not_joined() -> None:
    """Each send gets a slice of the frame, without a copy."""
    sizes: list[int] = []

    def send(data: bytes | memoryview) -> int:
        sizes.append(len(data))
        if len(sizes) == 1:
            raise BlockingIOError
        return min(len(data), 1000)

    buffer = SendBuffer(send, lambda _: 0)
    buffer.write([b"x" * 200_000])
    while not buffer.resume():
        pass
    assert sizes[1:3] == [200_000, 199_000]
