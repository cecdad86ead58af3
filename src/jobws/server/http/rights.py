"""Which right each route needs, and the answers to requests without it. Only public routes need none."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, assert_never

from starlette.routing import Route

from jobws.access.asked import AskedRights, Rehearsal
from jobws.access.asked_sight import AskedSight
from jobws.access.caller import CALLER, Refused, Unauthenticated
from jobws.access.identity import Identity, allows
from jobws.access.scope import Action, Place
from jobws.access.sights import sight_of
from jobws.errors import RequestError
from jobws.server.http.request import parameters
from jobws.server.judging import judge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from jobws.access.sights import AnySight
    from jobws.server.http.service import Service


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
            identity = await judged(request, lambda each: right(each, request))
            if not right(identity, request):
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


async def judged(request: Request, examine: Callable[[Identity], object]) -> Identity:
    """Return who sent a request, after the authorizer, if there is one, was asked for all that `examine` needs.

    See `judge`. From then on, `identity_of` returns the same identity.

    Raises:
        RequestError: `unauthenticated`, `bad-token` or `expired`; or `unavailable` or `too-many` if the authorizer
            cannot be asked.
    """
    caller = identity_of(request)
    identity = await judge(caller, examine)
    if identity is not caller:
        request.scope[CALLER] = identity
        if identity.expires_ms is not None and identity.expires_ms <= time.time() * 1000:
            raise refusal("expired")
    return identity


async def examined(request: Request, service: Service, examine: Callable[[AnySight], Awaitable[object]]) -> Identity:
    """Do what `judged` does, for an async `examine`, which lets other tasks run while it goes through a large request.

    Args:
        request: The request.
        service: Knows which queues there are.
        examine: Asks the sight that it is given for every right that the request needs.
    """
    caller = identity_of(request)
    if not isinstance(caller.rights, AskedRights):
        return caller
    await service.find([])
    rehearsal = Rehearsal(service.labels, lambda _check: None)
    with suppress(RequestError):  # it is raised again when the request is served
        await examine(AskedSight(rehearsal))
    rehearsal.check_count()
    return await judged(request, lambda identity: [allows(identity, *check) for check in rehearsal.missing])


# ---- what routes need ----


def may(action: Action, place: Callable[[Request], Place] = lambda _request: ANYWHERE) -> Right:
    """Return a check whether an identity may do something in the place that a request names.

    Args:
        action: What the identity wants to do.
        place: Reads the queue and the job from the request. By default the identity needs the right for all queues and
            jobs.
    """
    return lambda identity, request: allows(identity, action, *place(request))


def any_token(identity: Identity, _request: Request) -> bool:
    """Return True: every token that was verified will do.

    Where an authorizer decides, return `sees_a_queue` instead, so no token will do while there is no queue.
    """
    return not is_asked(identity) or sees_a_queue(identity)


def submits(place: Callable[[Request], Place]) -> Right:
    """Return a check whether an identity may add jobs to the queue that a request names.

    Where an authorizer decides, every identity passes. The endpoint then has the authorizer asked, and at the same time
    whether the identity may read the job, whose id may be in the body.
    """
    return lambda identity, request: is_asked(identity) or allows(identity, Action.SUBMIT, *place(request))


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


def queue_in_query(request: Request) -> Place:
    """Return the queue that the query names, and no job, also if the query names one.

    Raises:
        RequestError: `bad-data`: the queue is named twice, or the query is not valid UTF-8.
    """
    return Place(parameters(request, ("queue",)).get("queue"), None)


def reads_job(place: Callable[[Request], Place]) -> Right:
    """Return a check whether an identity may read the job that a request names.

    If the request names no queue, the identity must be able to read the job of this id in at least one queue. If it
    names no job, the identity needs a right to all jobs, and the endpoint then answers `bad-data`. Where an authorizer
    decides, it was asked before (see `CheckedRoute`).
    """

    def reads(identity: Identity, request: Request) -> bool:
        queue, job_id = place(request)
        if queue is None:
            return sight_of(identity).reads_somewhere(job_id or "")
        return allows(identity, Action.READ_JOB, queue, job_id)

    return reads


def reads_a_job(identity: Identity, _request: Request) -> bool:
    """Whether the identity has any right to read jobs. The endpoint then checks it for each single job.

    True where an authorizer decides. The endpoint asks it, since only the whole request says about which jobs.
    """
    return is_asked(identity) or _has_one_of(identity, {Action.READ_JOB, Action.READ_CHILDREN, Action.ADMIN})


def reads_events(identity: Identity, request: Request) -> bool:
    """Whether the identity has any right to read jobs, or queues' numbers. True where an authorizer decides.

    The endpoint then checks each single subscription.
    """
    return reads_a_job(identity, request) or _has_one_of(identity, {Action.READ_QUEUE})


def reads_a_queue(identity: Identity, _request: Request) -> bool:
    """Whether the identity has any right to read queues' counts. The endpoint then checks it for each single queue.

    Where an authorizer decides, this is `sees_a_queue`.
    """
    return sees_a_queue(identity) if is_asked(identity) else _has_one_of(identity, {Action.READ_QUEUE, Action.ADMIN})


def sees_a_queue(identity: Identity) -> bool:
    """Whether the authorizer lets the identity read the counts of at least one present queue.

    It was asked before (see `CheckedRoute`); a queue for which it gave no answer does not count. False where no
    authorizer decides.
    """
    rights = identity.rights
    return isinstance(rights, AskedRights | Rehearsal) and bool(AskedSight(rights).queues(rights.labels))


def is_asked(identity: Identity) -> bool:
    """Whether an authorizer decides what the identity may do."""
    return isinstance(identity.rights, AskedRights | Rehearsal)


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
