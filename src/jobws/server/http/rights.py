"""Which right each route needs, and the answers to requests without it. Only public routes need none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, assert_never

from starlette.routing import Route

from jobws.access.caller import CALLER, Refused, Unauthenticated
from jobws.access.identity import Identity, allows
from jobws.access.scope import Action, Place
from jobws.access.visible import IdentitySight
from jobws.errors import RequestError
from jobws.server.http.request import parameters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response


Endpoint: TypeAlias = "Callable[[Request], Awaitable[Response]]"
Right: TypeAlias = "Callable[[Identity, Request], bool]"

ANYWHERE: Final = Place(None, None)


class CheckedRoute(Route):
    """A route that is served to clients with a right, and refused to others before its endpoint is called.

    Args:
        path: The path, with parameters in braces.
        endpoint: Serves the request.
        right: Says whether an identity may send a request. It looks at the request's path and query only.
        methods: The HTTP methods.
    """

    def __init__(self, path: str, endpoint: Endpoint, right: Right, methods: Sequence[str]) -> None:
        async def checked(request: Request) -> Response:
            if not right(identity_of(request), request):
                raise refusal("forbidden")
            return await endpoint(request)

        super().__init__(path, checked, methods=methods)


def identity_of(request: Request) -> Identity:
    """Return who sent a request.

    Raises:
        RequestError: `unauthenticated`, `bad-token` or `expired`.
    """
    caller: Any = request.scope[CALLER]
    if isinstance(caller, Identity):
        return caller
    raise unauthenticated(caller)


# ---- what routes need ----


def may(action: Action, place: Callable[[Request], Place] = lambda _request: ANYWHERE) -> Right:
    """Return a check whether an identity may do something in the place that a request names.

    Args:
        action: What the identity wants to do.
        place: Reads the queue and the job from the request. By default the identity needs the right for all queues and
            jobs.
    """
    return lambda identity, request: allows(identity, action, *place(request))


def any_token(_identity: Identity, _request: Request) -> bool:
    """Return True: anyone who has an accepted token may send the request, whatever rights it gives."""
    return True


def in_path(request: Request) -> Place:
    """Return the queue and the job that the path names. Each is None if the path does not name it."""
    return Place(request.path_params.get("queue"), request.path_params.get("job_id"))


def in_query(request: Request) -> Place:
    """Return the queue and the job that the query names. Each is None if the query does not name it.

    Raises:
        RequestError: `bad-data`: one of them is named twice, or the query is not valid UTF-8.
    """
    named = parameters(request, ("queue", "jobId"))
    return Place(named.get("queue"), named.get("jobId"))


def reads_job(place: Callable[[Request], Place]) -> Right:
    """Return a check whether an identity may read the job that a request names.

    If the request names no queue, the identity must be able to read the job of this id in at least one queue.
    """

    def reads(identity: Identity, request: Request) -> bool:
        queue, job_id = place(request)
        if queue is None:
            return IdentitySight(identity).reads_somewhere(job_id or "")
        return allows(identity, Action.READ_JOB, queue, job_id)

    return reads


def reads_a_job(identity: Identity, _request: Request) -> bool:
    """Whether the identity has some right to read jobs. The endpoint then checks the right for each single job."""
    return _has_one_of(identity, {Action.READ_JOB, Action.READ_CHILDREN, Action.ADMIN})


def reads_a_queue(identity: Identity, _request: Request) -> bool:
    """Whether the identity has some right to read queues' counts. The endpoint then checks it for each single queue."""
    return _has_one_of(identity, {Action.READ_QUEUE, Action.ADMIN})


def _has_one_of(identity: Identity, actions: set[Action]) -> bool:
    return any(entry.action in actions for entry in identity.rights.entries)


# ---- refusals ----

_SENTENCES: Final = {
    "unauthenticated": "this needs a token, in the header Authorization: Bearer TOKEN",
    "bad-token": "the token is not accepted; the bridge's log says why",
    "expired": "the token has expired; get a new one",
    "forbidden": "the token does not allow this",
}


def refusal(code: Literal["unauthenticated", "bad-token", "expired", "forbidden"]) -> RequestError:
    """Return the error for a request that is refused. Its sentence does not say why a token is not accepted."""
    return RequestError(code, _SENTENCES[code])


def unauthenticated(caller: Unauthenticated | Refused) -> RequestError:
    """Return the error for a request without a token, or with one that is refused."""
    match caller:
        case Unauthenticated():
            return refusal("unauthenticated")
        case Refused(error):
            return refusal(error.code)
        case _:
            assert_never(caller)
