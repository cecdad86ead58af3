"""Static tokens: random texts, for programs. The bridge has a file with their hashes and rights only.

Each line of the file is `sha256-hex sub expiry|never scope…`, with one space between the parts. Empty lines and lines
that begin with `#` are ignored. `expiry` is a time such as `2027-01-31T12:00:00Z`.
"""

from __future__ import annotations

import calendar
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from jobws.access.identity import MAX_SUB_CHARACTERS, Identity, Rights
from jobws.access.scope import entry_text, parse_scope
from jobws.errors import ConfigurationError, TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "jobws_"
"""Every static token begins with this, and no JSON Web Token does."""
RANDOM_BYTES: Final = 32
NEVER: Final = "never"
_TOKEN: Final = re.compile(r"jobws_[A-Za-z0-9_-]{43}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class StaticTokens:
    """The tokens of a file. `identities` has their holders and rights, by the SHA-256 of the token."""

    identities: Mapping[bytes, Identity] = field(repr=False)

    def find(self, token: str, *, now: float) -> Identity:
        """Return who holds a token. `now` is in seconds since 1970.

        Raises:
            TokenRefusedError: `bad-token` if the file does not have the token, `expired` if the token has expired.
        """
        if not _TOKEN.fullmatch(token):
            raise TokenRefusedError("bad-token", "a static token is jobws_ and 43 characters of base64url")
        digest = sha256(token.encode()).digest()
        identity = self.identities.get(digest)
        # The look-up in the dictionary reveals nothing by its time, since Python hashes bytes with a random key.
        if identity is None or not hmac.compare_digest(identity.token_hash, digest):
            raise TokenRefusedError("bad-token", "the tokens file does not have this token")
        if identity.expires_ms is not None and now * 1000 >= identity.expires_ms:
            raise TokenRefusedError("expired", f"it expired at {identity.expires_ms // 1000}; now it is {now:.0f}")
        return identity


def new_token(random: bytes) -> str:
    """Return a new static token. `random` is 32 bytes of the system's random source.

    Raises:
        ValueError: `random` does not have 32 bytes.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a token needs {RANDOM_BYTES} random bytes")
    return PREFIX + urlsafe_b64encode(random).rstrip(b"=").decode()


def line_of(token: str, *, sub: str, expiry: str, rights: Rights) -> str:
    """Return a token's line of the file, without a line feed. `expiry`: `never`, or such as `2027-01-31T12:00:00Z`.

    Raises:
        ValueError: `sub` or `expiry` is malformed.
    """
    _check_sub(sub)
    _expires_ms(expiry)
    return " ".join([sha256(token.encode()).hexdigest(), sub, expiry, *map(entry_text, rights.entries)])


def read_static_tokens(name: str, content: bytes) -> StaticTokens:
    """Return the tokens of a file.

    Args:
        name: What to call the file in an error message.
        content: The file.

    Raises:
        ConfigurationError: A line is malformed or repeats a token. The message has the number of the line, but not the
            hash.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name} is no UTF-8 text") from None
    found: dict[bytes, Identity] = {}
    # Not splitlines, which would also split at U+2028.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        try:
            identity = _read_line(line)
        except (ValueError, TokenRefusedError) as error:
            raise ConfigurationError(f"{name}, line {number}: {error}") from None
        if identity.token_hash in found:
            raise ConfigurationError(f"{name}, line {number}: an earlier line has the same token")
        found[identity.token_hash] = identity
    return StaticTokens(found)


def _read_line(line: str) -> Identity:
    parts = line.split(" ", 3)
    if len(parts) < 4:
        raise ValueError("expected: sha256-hex sub expiry|never scope…")
    digest, sub, expiry, scope = parts
    if digest.startswith(PREFIX):
        raise ValueError("this is a token; the file has its SHA-256: jobws token --static prints the line")
    if not _HASH.fullmatch(digest):
        raise ValueError("the first part must be a SHA-256 of 64 digits 0-9 a-f")
    _check_sub(sub)
    return Identity(
        iss=None,
        sub=sub,
        rights=Rights(parse_scope(scope)),
        expires_ms=_expires_ms(expiry),
        token_hash=bytes.fromhex(digest),
    )


def _check_sub(sub: str) -> None:
    if not 1 <= len(sub) <= MAX_SUB_CHARACTERS or not sub.isprintable() or " " in sub:
        raise ValueError(f"sub must have 1 to {MAX_SUB_CHARACTERS} printable characters without a space")


def _expires_ms(text: str) -> int | None:
    if text == NEVER:
        return None
    match = _TIME.fullmatch(text)
    if match is not None:
        year, month, day, hour, minute, second = map(int, match.groups())
        exists = year >= 1970 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]
        if exists and hour < 24 and minute < 60 and second < 60:
            return calendar.timegm((year, month, day, hour, minute, second)) * 1000
    raise ValueError(f"expiry must be {NEVER} or a time such as 2027-01-31T12:00:00Z")
