"""Close codes, and for each one whether a client may connect again.

Codes of RFC 6455 §7.4.1 keep their meaning. The codes of jobws are in two ranges of the private codes: 4000 to 4499
mean "come back", 4500 to 4999 "stay away". So clients need one rule, which also covers codes that are added later.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class CloseCode(IntEnum):
    """The close codes that a jobws server sends."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    SLOW_CONSUMER = 4000
    TOKEN_EXPIRED = 4001
    SILENT = 4002
    TOO_MANY = 4003
    RESUBSCRIBE = 4004
    NOT_AUTHENTICATED = 4500
    REVOKED = 4501
    ABUSE = 4502
    UNKNOWN_PROTOCOL = 4503


# 1005 and 1006 are never sent. A client's library reports them if the close code or the close frame is missing.
_RETURN: Final = frozenset({1001, 1005, 1006, 1011, 1012, 1013})
_PRIVATE_RETURN: Final = range(4000, 4500)


def may_return(code: int) -> bool:
    """Whether a client should connect again, with back-off, after its connection ended with `code`."""
    return code in _RETURN or code in _PRIVATE_RETURN
