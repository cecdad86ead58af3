"""Counts the refused tokens of each address, so that no one can try many tokens in a short time, and logs them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Final

from jobws.server.few_lines import FewLines

if TYPE_CHECKING:
    from collections import Counter

    from jobws.errors import TokenRefusedError

MAX_ADDRESSES: Final = 10_000
WINDOW_SECONDS: Final = 60.0
# Of all addresses together. Some have no limit, such as that of a proxy that the settings do not name.
LOGGED_PER_MINUTE: Final = 100

_log: Final = logging.getLogger(__name__)


class FailedAuths:
    """Counts, by address, how many tokens were refused within a minute. The minute begins with the first of them.

    Args:
        limit: How many tokens of an address may be refused within its minute.
        limited: Counts, by the name of the setting, the tokens that were refused beyond this limit.
    """

    def __init__(self, limit: int, limited: Counter[str]) -> None:
        self._limit = limit
        self._limited = limited
        self._lines = FewLines(LOGGED_PER_MINUTE, -inf)
        # By address, when its minute began, and how many tokens were refused since. The oldest minute is first.
        self._minutes: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def note(self, address: str | None, now: float, refused: TokenRefusedError | None) -> float:
        """Note a refused token.

        Args:
            address: The address from which the token came; None if it is not limited.
            now: The time in seconds, of a clock that never goes back.
            refused: Why the token is refused, for the log; None if there is a line of it already.

        Returns:
            How many seconds the address must wait, or 0 if at most `limit` tokens were refused, including this one.
        """
        wait = self._wait(address, now)
        if refused is not None and not wait and self._lines.may_log(now):
            _log.warning("token refused (%s): %s", refused.code, refused)
        return wait

    def _wait(self, address: str | None, now: float) -> float:
        if address is None:
            return 0.0
        began, count = self._minutes.get(address, (now, 0))
        if now - began >= WINDOW_SECONDS:
            del self._minutes[address]
            began, count = now, 0
        self._minutes[address] = began, count + 1
        if len(self._minutes) > MAX_ADDRESSES:
            self._minutes.popitem(last=False)
        if count < self._limit:
            return 0.0
        self._limited["failed_auths_per_minute"] += 1
        return began + WINDOW_SECONDS - now
