"""The metrics for Prometheus. Counters are read only when Prometheus asks, so events cost no extra work."""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

import anyio
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from jobws.protocol.messages import NAMED_QUEUES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sized

    from prometheus_client import Metric
    from starlette.requests import Request

    from jobws.hub.jobs.fanout import Fanout
    from jobws.hub.log.broadcaster import LogHub
    from jobws.server.authentication import Authentication
    from jobws.server.jobs.queue_readers import Queues

# The keys of `Fanout.counts` that have a metric of their own. All other keys are kinds of anomalies.
_COUNTERS: Final = {
    "entries": "Entries read from the queues' event streams.",
    "deliveries": "Events given to clients as they happened.",
    "held": "Of these, events that waited for the answer to a subscription, and outcomes that waited with them.",
    "replayed": "Events read back from a stream for late and returning clients.",
    "job-log-lines": "Lines of jobs' logs given to clients.",
    "from-hash": "Outcomes made from a job's hash, since its stream does not have them.",
    "queue-stats": "Frames with the numbers of a queue given to clients.",
    "gaps": "Times that a stream may have lost entries before they were read.",
}

_LOG_COUNTERS: Final = {
    "sent": "Lines of the log given to clients as they happened.",
    "replayed": "Lines of the log read back for clients.",
    "dropped": "Lines of the log that slow clients, or the bridge itself, did not take before they were trimmed.",
}
# The settings whose limits are counted.
LIMITS: Final = (
    *("failed_auths_per_minute", "max_unauthenticated"),
    *("max_connections_per_identity", "max_connections_per_address"),
    *("max_subscriptions", "max_subscriptions_per_identity"),
    *("requests_per_second", "requests_per_minute", "post_bytes_per_minute", "log_lines_per_minute"),
)


class Metrics(Collector):
    """Collects the bridge's metrics, and answers requests for `/metrics`.

    Args:
        fanout: Counts what was read and sent, and what was unusual.
        queues: Says when each queue was last read, and how often readers crashed.
        logs: Counts the lines of the log that were sent.
        connections: Returns all clients that are connected now, also those over HTTP. Only their number is used.
        keys: Says which files of keys cannot be read now.
        limited: How often something was refused, or made to wait, for a limit, by the name of the setting.
        asked: The `counts` of `Gate`: how many questions to the authorizer were `asked`, how many of them `failed`, and
            how many requests were `unavailable`. None: there is no authorizer, and no metric of it.
    """

    def __init__(
        self,
        fanout: Fanout,
        queues: Queues,
        logs: LogHub,
        connections: Callable[[], Sized],
        keys: Authentication,
        limited: Mapping[str, int],
        asked: Mapping[str, int] | None = None,
    ) -> None:
        self._fanout = fanout
        self._queues = queues
        self._logs = logs
        self._connections = connections
        self._keys = keys
        self._limited = limited
        self._asked = asked
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    async def answer(self, _request: Request) -> Response:
        """Answer with the metrics, in Prometheus' text format."""
        return Response(generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST})

    def describe(self) -> Iterable[Metric]:
        """Return nothing. Without this method, prometheus-client would call `collect` outside an event loop."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield one metric family per metric."""
        counts = dict(self._fanout.counts)
        yield GaugeMetricFamily(
            "jobws_connections", "WebSockets, event streams and waiting requests.", value=len(self._connections())
        )
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"jobws_{name.replace('-', '_')}", text, value=counts.pop(name, 0))
        anomalies = CounterMetricFamily("jobws_anomalies", "Entries that were not plain events.", labels=["kind"])
        for name, count in sorted(counts.items()):
            anomalies.add_metric([name], count)
        yield anomalies
        for name, text in _LOG_COUNTERS.items():
            yield CounterMetricFamily(f"jobws_log_lines_{name}", text, value=self._logs.counts[name])
        limited = CounterMetricFamily(
            "jobws_limited", "What was refused, or made to wait, for a limit, by its setting.", labels=["setting"]
        )
        for name in LIMITS:
            limited.add_metric([name], self._limited.get(name, 0))
        yield limited
        if self._asked is not None:
            asked = CounterMetricFamily(
                "jobws_authorizer", "Questions to the authorizer, and what became of them.", labels=["kind"]
            )
            for name in ("asked", "failed", "unavailable"):
                asked.add_metric([name], self._asked.get(name, 0))
            yield asked
        yield GaugeMetricFamily(
            "jobws_key_files_unreadable",
            "Files of keys, and --jwks-url, that cannot be read now; their state before still counts.",
            value=len(self._keys.problems),
        )
        crashes = sum(health.crashes for health in self._queues.health)
        yield CounterMetricFamily(
            "jobws_stream_reader_crashes", "Readers of streams that were started again.", value=crashes
        )
        now = anyio.current_time()
        ages = {label: inf if at is None else now - at for label, at in self._queues.last_reads().items()}
        yield GaugeMetricFamily("jobws_queues", "Queues that are read.", value=len(ages))
        yield GaugeMetricFamily(
            "jobws_most_seconds_since_read",
            "Since the queue was read that was not read for longest; +Inf: never.",
            value=max(ages.values(), default=0.0),
        )
        # The number of queues is limited, since ten thousand series that come and go would burden Prometheus.
        age = GaugeMetricFamily(
            "jobws_seconds_since_read",
            f"Since a queue was last read, of the first {NAMED_QUEUES}; +Inf: never.",
            labels=["queue"],
        )
        for label, seconds in islice(ages.items(), NAMED_QUEUES):
            age.add_metric([label], seconds)
        yield age
