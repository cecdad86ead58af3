"""Frames waiting for one connection, bounded in bytes.

It does not care how bytes leave: the writer of the socket is woken by `flush`, takes what waits, and says when it
is gone. A client that does not read fills its outbox, and an outbox that is full ends that client alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.protocol.codec import Frame


class Outbox:
    """The frames of one connection, in the order in which they will leave.

    Args:
        limit_bytes: What may wait, counting also what is held back for pending subscriptions and what the writer has
            taken but not yet got rid of. While nothing is on its way, one frame of any size is accepted.
        wake: Called when there is something for the writer to do. It must not wait.

    Attributes:
        size: Bytes that wait, are held, or are being written.
        overflowed: A frame did not fit, so the stream of frames has a hole: nothing may follow.
    """

    __slots__ = (
        "_abandoned",
        "_frames",
        "_limit",
        "_tails",
        "_taken",
        "_taken_tails",
        "_waiting",
        "_waiting_tails",
        "_when_roomy",
        "overflowed",
        "size",
        "wake",
    )

    def __init__(self, limit_bytes: int, wake: Callable[[], None]) -> None:
        self._limit = limit_bytes
        self.wake = wake
        self._frames: list[Frame] = []
        self._waiting = 0
        self._taken = 0
        # Tails of what waits and of what was taken; and by identity, how many frames have each. None: there is none.
        self._waiting_tails: tuple[bytes, ...] = ()
        self._taken_tails: tuple[bytes, ...] = ()
        self._tails: dict[int, int] | None = None
        self.size = 0
        self.overflowed = False
        self._when_roomy: tuple[Callable[[], None], ...] = ()
        self._abandoned = False

    @property
    def roomy(self) -> bool:
        """Whether it is less than half full, so that what was read back may follow.

        Or nothing is on its way: what is held goes out only after what is read back, so it must not stop that. Or the
        client is gone.
        """
        return self._abandoned or self.size <= self._limit // 2 or not (self._waiting or self._taken)

    def has_room(self, size: int) -> bool:
        """Whether a frame of `size` bytes leaves a quarter for answers; or nothing is on its way."""
        return not self.overflowed and (
            self.size + size <= self._limit - self._limit // 4 or not (self._waiting or self._taken)
        )

    def when_roomy(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, as soon as it is `roomy`. It must not wait."""
        self._when_roomy += (callback,)

    def abandon(self) -> None:
        """The client is gone: nobody is to wait for room, now or later."""
        self._abandoned = True
        self._release_waiting()

    def _release_waiting(self) -> None:
        callbacks, self._when_roomy = self._when_roomy, ()
        for callback in callbacks:
            callback()

    def append(self, frame: Frame) -> None:
        """Put `frame` last. It is shared with other outboxes and never copied."""
        size, tail = len(frame.head), frame.tail
        more = size + self._unseen(tail) if tail else size
        if self.overflowed or (self.size + more > self._limit and (self._waiting or self._taken)):
            self.overflowed = True
            return
        self.size += more
        self._waiting += size
        if tail:
            self._count(tail)
            self._waiting_tails += (tail,)
        self._frames.append(frame)

    def hold(self, tail: bytes) -> bool:
        """Count what is kept elsewhere for this connection, a frame's tail. False: it does not fit."""
        size = self._unseen(tail)
        if self.overflowed or (self.size and self.size + size > self._limit):
            self.overflowed = True
            return False
        self.size += size
        self._count(tail)
        return True

    def release(self, tail: bytes) -> None:
        """Take back what `hold` counted."""
        self._drop((tail,))

    def _unseen(self, tail: bytes) -> int:
        """How many bytes a tail adds: none, if a frame that waits has the same."""
        return 0 if self._tails is not None and id(tail) in self._tails else len(tail)

    def _count(self, tail: bytes) -> None:
        if self._tails is None:
            self._tails = {}
        self._tails[id(tail)] = self._tails.get(id(tail), 0) + 1

    def _drop(self, tails: tuple[bytes, ...]) -> None:
        counts = self._tails or {}
        for tail in tails:
            left = counts.pop(id(tail)) - 1
            if left:
                counts[id(tail)] = left
            else:
                self.size -= len(tail)
        self._tails = counts or None

    def flush(self) -> None:
        """Tell the writer, if it has something to do."""
        if self._frames or self.overflowed:
            self.wake()

    def take(self) -> list[Frame]:
        """All that waits, for the writer. It counts until `written`, or until the next `take`."""
        self._forget_taken()
        frames, self._frames = self._frames, []
        self._taken, self._waiting = self._waiting, 0
        self._taken_tails, self._waiting_tails = self._waiting_tails, ()
        if self._when_roomy and self.roomy:
            self._release_waiting()
        return frames

    def written(self) -> None:
        """What was taken is gone."""
        self._forget_taken()
        if self._when_roomy and self.roomy:
            self._release_waiting()

    def _forget_taken(self) -> None:
        self.size -= self._taken
        self._taken = 0
        if self._taken_tails:
            tails, self._taken_tails = self._taken_tails, ()
            self._drop(tails)
