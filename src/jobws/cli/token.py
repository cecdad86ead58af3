"""The command `jobws token`: makes a token for the bridge, or says why one is refused."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from jobws.access.carrier import Carried, Carrier, check_text
from jobws.access.identity import MAX_SUB_CHARACTERS, Rights
from jobws.access.scope import entry_text, parse_scope
from jobws.access.static_tokens import NEVER, PREFIX, RANDOM_BYTES, line_of, new_token
from jobws.cli.arguments import check_text as check_utf8
from jobws.cli.arguments import needs_extra
from jobws.errors import ConfigurationError, TokenRefusedError
from jobws.tokens import claims_of, hs256_token, job_scope

if TYPE_CHECKING:
    from jobws.access.identity import Identity

SECRET_VARIABLE: Final = "JOBWS_JWT_SECRET"  # noqa: S105 - a name, not a secret
_DEFAULT_SECONDS: Final = 900
_DURATION: Final = re.compile(r"(\d{1,10})([smhd])", re.ASCII)
_MOST_SECONDS: Final = 36_500 * 86_400
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, kw_only=True)
class KeyOptions:
    """The keys that make and verify tokens, and what tokens must say. The bridge has the same settings."""

    tokens_file: Annotated[Path | None, Parameter(env_var="JOBWS_TOKENS_FILE")] = None
    """The file of static tokens, with a line `sha256-hex sub expiry|never scope…` for each."""
    jwt_secret_files: Annotated[
        tuple[Path, ...],
        Parameter(name=("--jwt-secret-file", "--jwt-secret-files"), env_var="JOBWS_JWT_SECRET_FILES", negative=()),
    ] = ()
    """A file with a secret of at least 32 bytes; repeatable. $JOBWS_JWT_SECRET is one more secret."""
    jwks_file: Annotated[Path | None, Parameter(env_var="JOBWS_JWKS_FILE")] = None
    """A JSON Web Key Set with the public keys of tokens."""
    revoked_file: Annotated[Path | None, Parameter(env_var="JOBWS_REVOKED_FILE")] = None
    """A file with the `jti` of each token that is revoked, one in a line."""
    jwt_audience: Annotated[str | None, Parameter(env_var="JOBWS_JWT_AUDIENCE")] = None
    """What `aud` must be; without this option, tokens must not have `aud`."""
    jwt_issuer: Annotated[str | None, Parameter(env_var="JOBWS_JWT_ISSUER")] = None
    """What `iss` must be; without this option, tokens must not have `iss`."""
    jwt_scope_claim: Annotated[str, Parameter(env_var="JOBWS_JWT_SCOPE_CLAIM")] = "scope"
    """The claim that lists a token's rights."""
    jwt_leeway_seconds: Annotated[
        float,
        Parameter(
            name=("--jwt-leeway", "--jwt-leeway-seconds"), env_var="JOBWS_JWT_LEEWAY_SECONDS", validator=Number(gte=0)
        ),
    ] = 5
    """By how many seconds the clock of those who make JWTs may be ahead."""
    mint_secret_file: Annotated[Path | None, Parameter(env_var="JOBWS_MINT_SECRET_FILE")] = None
    """The file with the secret that signs. By default, the only secret of --jwt-secret-file and $JOBWS_JWT_SECRET."""
    mint_key_file: Annotated[Path | None, Parameter(env_var="JOBWS_MINT_KEY_FILE")] = None
    """A private JSON Web Key that signs instead."""


def token(
    keys: Annotated[KeyOptions, Parameter(name="*")] | None = None,
    *,
    job: str | None = None,
    scope: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)] = None,
    lifetime: Annotated[str | None, Parameter(name="--for")] = None,
    sub: str | None = None,
    static: Annotated[bool, Parameter(negative=())] = False,
    verify: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
) -> None:
    """Make a token and print it; or verify one. Exit code: 0 made or accepted, 6 refused.

    A new token needs either --job or --scope.

    Args:
        keys: The bridge's keys.
        job: The one job that the token allows reading: its events, state and log. Written as QUEUE/ID. The first slash
            ends the queue; nothing is encoded.
        scope: What the token allows, for instance read:jobs:http/42; several may follow.
        lifetime: How long it is valid: 90s, 15m, 12h, 30d. By default 15m, and for ever with --static.
        sub: Who holds the token. By default, the token names no holder; --static requires one.
        static: Make a random token, and print the line for the tokens file after it.
        verify: Say who holds this token and what it allows, or why it is refused; '-' reads it from standard input.
    """
    chosen = keys or KeyOptions()
    if verify is not None:
        if job is not None or scope or lifetime is not None or sub is not None or static:
            raise ConfigurationError("--verify makes no token: leave out --job, --scope, --for, --sub and --static")
        _print_identity(_verified(sys.stdin.read().strip() if verify == "-" else verify, chosen))
        return
    check_utf8(job=job, sub=sub)
    rights, seconds = _rights(job, scope), _seconds(lifetime)
    if sub is not None and not 1 <= len(sub) <= MAX_SUB_CHARACTERS:
        raise ConfigurationError(f"--sub takes 1 to {MAX_SUB_CHARACTERS} characters")
    if static:
        _print_static(rights, sub, seconds)
    else:
        _print_jwt(rights, sub, _DEFAULT_SECONDS if seconds is None else seconds, chosen)


def _rights(job: str | None, scope: list[str] | None) -> Rights:
    if job is not None and scope:
        raise ConfigurationError("--job and --scope exclude each other; --scope can name the job, too")
    if job is None and not scope:
        raise ConfigurationError("say what the token allows: --job QUEUE/ID or --scope; or name a token with --verify")
    try:
        if job is None:
            return Rights(parse_scope(" ".join(scope or ())))
        queue, slash, job_id = job.partition("/")
        if not slash:
            raise ConfigurationError("--job takes QUEUE/ID, for instance http/42")
        return Rights(parse_scope(job_scope(queue, job_id)))
    except (TokenRefusedError, ValueError) as error:
        raise ConfigurationError(f"{'--scope' if job is None else '--job'}: {error}") from None


def _seconds(lifetime: str | None) -> int | None:
    if lifetime is None:
        return None
    match = _DURATION.fullmatch(lifetime)
    seconds = 0 if match is None else int(match[1]) * _UNITS[match[2]]
    if not 0 < seconds <= _MOST_SECONDS:
        raise ConfigurationError("--for takes a number above 0 and s, m, h or d, for instance 15m; at most 36500d")
    return seconds


def _print_static(rights: Rights, sub: str | None, seconds: int | None) -> None:
    if sub is None:
        raise ConfigurationError("--static needs --sub, the name of the token's holder in the tokens file")
    try:
        expiry = NEVER if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        made = new_token(secrets.token_bytes(RANDOM_BYTES))
        line = line_of(made, sub=sub, expiry=expiry, rights=rights)
    except ValueError as error:
        raise ConfigurationError(f"--static: {error}") from None
    print(f"{made}\n{line}")
    print("jobws: the first line is the token; the second one is its line for a tokens file", file=sys.stderr)


def _print_jwt(rights: Rights, sub: str | None, seconds: int, keys: KeyOptions) -> None:
    text = " ".join(map(entry_text, rights.entries))
    rest = {"audience": keys.jwt_audience, "issuer": keys.jwt_issuer}
    claims = claims_of(text, time.time(), sub=sub, seconds=seconds, **rest)
    claims = {keys.jwt_scope_claim if name == "scope" else name: value for name, value in claims.items()}
    made = _signed(claims, keys)
    try:
        check_text(made, Carrier.AUTHENTICATE)
    except TokenRefusedError as error:
        raise ConfigurationError(f"no bridge would take the token: {error}") from None
    print(made)


def _signed(claims: dict[str, Any], keys: KeyOptions) -> str:
    if keys.mint_secret_file is not None and keys.mint_key_file is not None:
        raise ConfigurationError("--mint-secret-file and --mint-key-file exclude each other")
    if keys.mint_key_file is not None:
        with needs_extra("jwt", "--mint-key-file"):
            from jobws.access.signing_key import read_signing_key
        return read_signing_key(str(keys.mint_key_file), _content(keys.mint_key_file)).token(claims)
    given = _secrets(keys) if keys.mint_secret_file is None else [_file(keys.mint_secret_file)]
    if not given:
        raise ConfigurationError(
            "no key to sign with: name --mint-secret-file, --mint-key-file or one --jwt-secret-file, "
            f"or set {SECRET_VARIABLE}"
        )
    if len(given) > 1:
        raise ConfigurationError(f"there are {len(given)} secrets: name the one to sign with as --mint-secret-file")
    with needs_extra("jwt", "jobws token"):
        from jobws.access.key_set import read_secret
    secret: bytes = read_secret(*given[0]).material
    return hs256_token(secret, claims)


def _verified(text: str, keys: KeyOptions) -> Identity:
    with needs_extra("jwt", "jobws token --verify"):
        from jobws.access.authenticator import Authenticator, KeyFiles
        from jobws.access.jwt import Rules
        from jobws.access.key_set import read_secret
    secret = _secret_of_environment()
    if text.startswith(PREFIX):
        if keys.tokens_file is None:
            raise ConfigurationError("no file to look a static token up in: name --tokens-file")
    elif not (secret or keys.jwt_secret_files or keys.jwks_file):
        raise ConfigurationError(
            f"no key to verify a JWT with: name --jwt-secret-file or --jwks-file, or set {SECRET_VARIABLE}"
        )
    files = KeyFiles(
        tokens=_name(keys.tokens_file),
        secrets=tuple(map(str, keys.jwt_secret_files)),
        jwks=_name(keys.jwks_file),
        revoked=_name(keys.revoked_file),
    )
    rules = Rules(
        audience=keys.jwt_audience,
        issuer=keys.jwt_issuer,
        scope_claim=keys.jwt_scope_claim,
        leeway_seconds=keys.jwt_leeway_seconds,
    )
    authenticator = Authenticator(files, rules, tuple(read_secret(*each) for each in secret))
    for problem in authenticator.look({name: _content(Path(name)) for name in files.names()}):
        raise ConfigurationError(problem)
    return authenticator.identify(Carried(Carrier.AUTHENTICATE, text), now=time.time())


def _print_identity(identity: Identity) -> None:
    scope = " ".join(map(entry_text, identity.rights.entries))
    told = {"sub": identity.sub, "iss": identity.iss, "scope": scope, "expires": identity.expires_ms}
    print(json.dumps(told))


def _secrets(keys: KeyOptions) -> list[tuple[str, bytes]]:
    """Return the secrets for JWTs. Each has the name of its file or variable, for messages, and its content."""
    return [*map(_file, keys.jwt_secret_files), *_secret_of_environment()]


def _secret_of_environment() -> list[tuple[str, bytes]]:
    secret = os.environ.get(SECRET_VARIABLE)
    return [] if secret is None else [(SECRET_VARIABLE, os.fsencode(secret))]


def _name(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _file(path: Path) -> tuple[str, bytes]:
    return str(path), _content(path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
