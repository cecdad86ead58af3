"""How long the bridge waits where no setting says so. Only tests need other values."""

from __future__ import annotations

from typing import Final, NamedTuple

from jobws.bullmq.reading.schedule import USUAL_PAUSES, Pauses


class Intervals(NamedTuple):
    """The waiting times of the bridge that are not settings.

    Attributes:
        streams: The waiting times of the readers that read Redis streams.
        keep_alive_seconds: The longest time between two frames of an event stream over HTTP. Proxies cut connections
            that are silent for a minute, and some after 30 s.
        body_seconds: How long a client may take to send the body of a request. A body of `max_body_bytes` needs
            280 kbit/s.
        sweep_seconds: The time between two sweeps of a queue that keeps no events, or whose last sweep was not
            complete (the `hole_seconds` of `Sweeper`). The setting `sweep_seconds` is the time between two sweeps of
            all queues.
        job_log_hold_seconds: How long the outcome of a job waits for the job's last log lines if Redis does not return
            them.
        workers_seconds: How long Redis's list of its clients, which tells how many workers queues have, counts as new.
            With thousands of clients it has megabytes.
        flow_seconds: The pause between two looks for new children of a flow.
        look_seconds: The time between two readings of the files of keys.
        jwks_seconds: The time between two fetches of the key set of `--jwks-url`.
        jwks_again_seconds: The shortest time between two fetches because of a token with an unknown key, and the time
            between a fetch that failed and the next one.
        fetch_seconds: How long a fetch of that key set may take, and how long a request waits for it.
    """

    streams: Pauses = USUAL_PAUSES
    keep_alive_seconds: float = 15.0
    body_seconds: float = 30.0
    sweep_seconds: float = 1.0
    job_log_hold_seconds: float = 1.0
    workers_seconds: float = 10.0
    flow_seconds: float = 1.0
    look_seconds: float = 5.0
    jwks_seconds: float = 300.0
    jwks_again_seconds: float = 30.0
    fetch_seconds: float = 5.0


USUAL_INTERVALS: Final = Intervals()
