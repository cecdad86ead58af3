"""The outbox: the frames that wait to be sent over one connection, bounded in bytes.

`flush` wakes the writer of the socket. The writer calls `take` to get the frames, and `written` after it has sent them.
The outbox of a client that does not read becomes full, and then only this client's connection is ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.protocol.codec import Frame


class Outbox:
    """The frames of one connection, in the order in which they will be sent.

    Args:
        limit_bytes: How many bytes may wait. Frames that the writer has taken but not sent count, too, and events that
            a subscription holds until its earlier events were sent. If no frame waits or is being written, one frame of
            any size is accepted.
        wake: Called when the writer has something to do. It must not wait.

    Attributes:
        size: How many bytes wait, are held, or are being written.
        overflowed: Whether a frame did not fit. No frame is accepted after that, since one is missing.
    """

    __slots__ = (
        "_abandoned",
        "_frames",
        "_limit",
        "_on_low_water",
        "_tails",
        "_taken",
        "_taken_tails",
        "_waiting",
        "_waiting_tails",
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
        # The tail of a frame is the part that it shares with other frames. These are the tails of frames that wait, and
        # of those that were taken. `_tails` counts by `id(tail)` how often each one waits, is held or was taken. It is
        # None instead of empty.
        self._waiting_tails: tuple[bytes, ...] = ()
        self._taken_tails: tuple[bytes, ...] = ()
        self._tails: dict[int, int] | None = None
        self.size = 0
        self.overflowed = False
        self._on_low_water: tuple[Callable[[], None], ...] = ()
        self._abandoned = False

    @property
    def below_low_water(self) -> bool:
        """Whether the outbox is at most half full, so that further past events may be read for this client.

        Also true if no frame waits or is being written, whatever is held: held events are sent only after past ones, so
        they must not prevent reading those. Also true after `abandon`, since then nothing may wait for it.
        """
        return self._abandoned or self.size <= self._limit // 2 or not (self._waiting or self._taken)

    def has_room(self, size: int) -> bool:
        """Whether a frame of `size` bytes fits and leaves a quarter of the limit free for answers.

        Also true if no frame waits or is being written. False after an overflow.
        """
        return not self.overflowed and (
            self.size + size <= self._limit - self._limit // 4 or not (self._waiting or self._taken)
        )

    def when_below_low_water(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, at the next `take` or `written` that leaves the outbox `below_low_water`.

        It is called on `abandon`, too, and never by this method itself. It must not wait.
        """
        self._on_low_water += (callback,)

    def abandon(self) -> None:
        """Note that the client has no subscriptions any more, since it is gone or its connection is closing.

        `below_low_water` is true from now on, and all callbacks that wait for it are called. Frames can still be sent.
        """
        self._abandoned = True
        self._release_waiting()

    def _release_waiting(self) -> None:
        callbacks, self._on_low_water = self._on_low_water, ()
        for callback in callbacks:
            callback()

    def append(self, frame: Frame) -> None:
        """Put `frame` last, or set `overflowed` if it does not fit. The frame may be in other outboxes, too."""
        size = more = len(frame.head)
        if tail := frame.tail:
            more += self._unseen(tail)
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
        """Count in `size` the tail of a frame that a subscription holds back. The outbox does not store it.

        Returns False, and sets `overflowed`, if the tail does not fit. If True, the caller must call `release` later.
        """
        size = self._unseen(tail)
        if self.overflowed or (self.size and self.size + size > self._limit):
            self.overflowed = True
            return False
        self.size += size
        self._count(tail)
        return True

    def release(self, tail: bytes) -> None:
        """Stop counting a tail that `hold` counted, because its frame is sent or given up now."""
        self._drop((tail,))

    def _unseen(self, tail: bytes) -> int:
        """Return how many bytes a tail adds to `size`: none if the same object is counted already."""
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
        """Wake the writer if frames wait or the outbox has overflowed."""
        if self._frames or self.overflowed:
            self.wake()

    def take(self) -> list[Frame]:
        """Return all frames that wait, and remove them. They count in `size` until `written` or the next `take`."""
        if self._taken:
            self._forget_taken()
        frames, self._frames = self._frames, []
        self._taken, self._waiting = self._waiting, 0
        if self._waiting_tails:
            self._taken_tails, self._waiting_tails = self._waiting_tails, ()
        if self._on_low_water and self.below_low_water:
            self._release_waiting()
        return frames

    def written(self) -> None:
        """Note that the frames of the last `take` were sent, so that they no longer count in `size`."""
        self.size -= self._taken  # the code of `_forget_taken`, inlined since it runs for every delivery
        self._taken = 0
        if self._taken_tails:
            self._forget_tails()
        if self._on_low_water and self.below_low_water:
            self._release_waiting()

    def _forget_taken(self) -> None:
        self.size -= self._taken
        self._taken = 0
        if self._taken_tails:
            self._forget_tails()

    def _forget_tails(self) -> None:
        tails, self._taken_tails = self._taken_tails, ()
        self._drop(tails)
