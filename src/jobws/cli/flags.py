"""The flags of `jobws serve`: the fields of `Settings`, which knows nothing of a command line.

Each field is a flag and a variable of the environment, and its docstring is the help text. Only fields whose flags or
variables have other names are listed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from jobws.server.settings import Settings

Texts: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Flags(Settings):
    """`Settings`, as cyclopts reads them from flags and from the environment."""

    redis: Annotated[str, Parameter(env_var=("JOBWS_REDIS", "REDIS_URL"))] = Settings.redis
    queues: Annotated[Texts, Parameter(name=("--queue", "--queues"), negative=())] = Settings.queues
    allowed_origins: Annotated[Texts, Parameter(name=("--allow-origin", "--allowed-origins"), negative=())] = ()
    allowed_hosts: Annotated[Texts, Parameter(name=("--allow-host", "--allowed-hosts"), negative=())] = ()
