"""How long the bridge waits where no setting says it. Users need no other figures; tests do."""

from __future__ import annotations

from typing import Final, NamedTuple

from jobws.bullmq.streams.schedule import USUAL_PAUSES, Pauses


class Intervals(NamedTuple):
    """How long the bridge waits for what.

    Attributes:
        streams: How long the listeners of Redis wait for what.
        keep_alive_seconds: Between two frames of an event stream over HTTP. Proxies cut what is silent for a minute,
            some after 30 s.
        body_seconds: For the body of a request. For one of `max_body_bytes` that is 280 kbit/s.
        sweep_seconds: Between two sweeps of queues whose events were missed, or are not written.
        job_log_hold_seconds: For the last lines of a job, before its outcome goes out while Redis tells no lines.
    """

    streams: Pauses = USUAL_PAUSES
    keep_alive_seconds: float = 15.0
    body_seconds: float = 30.0
    sweep_seconds: float = 1.0
    job_log_hold_seconds: float = 1.0


USUAL_INTERVALS: Final = Intervals()
