"""Lets an answered subscription into its room, and has it get first what it missed, and then new events."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jobws.hub.jobs.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobws.hub.jobs.client import JobClient
    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.jobs.missed import Beginning
    from jobws.hub.jobs.subscription import Subscription


def no_flows(_flow: Flow) -> None:
    """Take a flow, and do nothing: nobody looks at the jobs below."""


def admit(
    client: JobClient,
    subscription: Subscription,
    beginning: Beginning,
    fanout: Fanout,
    on_flow: Callable[[Flow], None],
) -> None:
    """Let a subscription of `client` into its room. `begin` has returned its `beginning`.

    A subscription with `children` gets nothing until the client was sent what it missed of the jobs below. `on_flow`
    becomes the `on_change` of its flow, and is first called here.
    """
    subscription.acked = True
    fanout.join(subscription)
    catch_up = partial(_catch_up, client, subscription, beginning, fanout)
    if subscription.request.children:
        subscription.held = []
        subscription.flow = Flow(subscription, catch_up, fanout, on_flow)
        subscription.flow.change()
    else:
        catch_up()


def _catch_up(client: JobClient, subscription: Subscription, beginning: Beginning, fanout: Fanout) -> None:
    if beginning.replays:
        subscription.held = subscription.held or []
        read_later = partial(client.read_later, beginning.replays)
        if subscription.request.logs is None:
            read_later()
        else:  # the lines that are there come before the outcome
            fanout.job_logs.drain(subscription, subscription.job_states, read_later)
    else:
        fanout.go_live(subscription)
    for queue in beginning.owed:
        client.owe(subscription, queue)
    for queue in beginning.stale:
        fanout.doubt(queue)
