"""Says whether a bridge has anything left of clients that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.bridge import Live


def nothing_left(live: Live) -> bool:
    """Whether no client is connected, and no subscription, room, wait, count or question of one is left."""
    bridge = live.bridge
    fanout, lines, admission, asking = bridge.fanout, bridge.logs.hub, bridge._admission, bridge._reasking
    return not any(
        (
            *(bridge.clients.connected, bridge.logs.clients.connected, admission._members, admission.strangers),
            *(admission._limits._open, admission._limits._counted, len(fanout.rooms), fanout.job_logs.followers),
            *(fanout.job_logs.draining, lines._live, lines._due, lines.cursor),
            *(() if asking is None else (asking._asking, asking._due, asking._retry_at, asking._gate._asking)),
        )
    )
