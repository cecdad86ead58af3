"""The flags of `jobws serve`. They are the fields of `Settings`, which knows nothing of a command line.

Each field is a flag and an environment variable, and its docstring is the help text. A field needs a line here only if
its flag or variable has another name, or if it is a tuple, which would get a flag `--no-…` without `negative=()`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from jobws.server.settings import Settings

Texts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Flags(Settings):
    """`Settings`, as cyclopts reads them from flags and from the environment."""

    redis: Annotated[str, Parameter(env_var=("JOBWS_REDIS", "REDIS_URL"))] = field(default=Settings.redis, repr=False)
    queues: Annotated[Texts, Parameter(name=("--queue", "--queues"), negative=())] = Settings.queues
    allowed_origins: Annotated[Texts, Parameter(name=("--allow-origin", "--allowed-origins"), negative=())] = ()
    allowed_hosts: Annotated[Texts, Parameter(name=("--allow-host", "--allowed-hosts"), negative=())] = ()
    queue_stats_seconds: Annotated[
        float,
        Parameter(name=("--queue-stats-interval", "--queue-stats-seconds"), env_var="JOBWS_QUEUE_STATS_SECONDS"),
    ] = Settings.queue_stats_seconds
    trusted_proxies: Annotated[
        Texts, Parameter(name=("--trusted-proxy", "--trusted-proxies"), env_var="JOBWS_TRUSTED_PROXIES", negative=())
    ] = ()
    jwt_secret_files: Annotated[
        Texts,
        Parameter(name=("--jwt-secret-file", "--jwt-secret-files"), env_var="JOBWS_JWT_SECRET_FILES", negative=()),
    ] = ()
    # A command line is seen by every user of the machine, so `jobws serve` reads this one from the environment itself.
    jwt_secret: Annotated[str | None, Parameter(parse=False)] = field(default=None, repr=False)
    redact: Annotated[Texts, Parameter(negative=())] = ()
    no_results: Annotated[Texts, Parameter(negative=())] = ()
    show_data: Annotated[Texts, Parameter(negative=())] = ()
    show_stacktraces: Annotated[Texts, Parameter(negative=())] = ()
    jwt_leeway_seconds: Annotated[
        float, Parameter(name=("--jwt-leeway", "--jwt-leeway-seconds"), env_var="JOBWS_JWT_LEEWAY_SECONDS")
    ] = Settings.jwt_leeway_seconds
    mint_seconds: Annotated[
        float, Parameter(name=("--mint-lifetime", "--mint-seconds"), env_var="JOBWS_MINT_SECONDS")
    ] = Settings.mint_seconds
    authenticate_seconds: Annotated[
        float,
        Parameter(name=("--authenticate-timeout", "--authenticate-seconds"), env_var="JOBWS_AUTHENTICATE_SECONDS"),
    ] = Settings.authenticate_seconds
    authorize_seconds: Annotated[
        float, Parameter(name=("--authorize-timeout", "--authorize-seconds"), env_var="JOBWS_AUTHORIZE_SECONDS")
    ] = Settings.authorize_seconds
    expiring_seconds: Annotated[
        float, Parameter(name=("--expiring-before", "--expiring-seconds"), env_var="JOBWS_EXPIRING_SECONDS")
    ] = Settings.expiring_seconds
    grace_seconds: Annotated[
        float, Parameter(name=("--expiry-grace", "--grace-seconds"), env_var="JOBWS_GRACE_SECONDS")
    ] = Settings.grace_seconds
