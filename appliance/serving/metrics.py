"""What a service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from appliance.errors import ApplianceError, BadInput, NotFound, NotReady, Superseded, TimedOut
from appliance.serving.engine import Chunk, Engine, Req
from appliance.serving.priority import Priority
from appliance.serving.scheduler import State

_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 5.0, 15.0, 60.0, 300.0)


class Metrics:
    """Requests by result and priority, latency, queue length, readiness. No room, no text."""

    def __init__(self, engine: Engine[Req, Chunk]) -> None:
        self.registry = CollectorRegistry()
        labels, registry = ["service", "priority"], self.registry
        self._service = engine.name
        self._requests = Counter(
            "earshot_requests", "Requests by result.", [*labels, "result"], registry=registry
        )
        self._latency = Histogram(
            "earshot_request_seconds",
            "Time to the last chunk.",
            labels,
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._first = Histogram(
            "earshot_first_chunk_seconds", "Time to the first chunk.", labels,
            buckets=_BUCKETS_S, registry=registry,
        )  # fmt: skip
        scheduler = engine.scheduler
        for name, text, value in (
            ("earshot_queue_length", "Requests waiting.", lambda: scheduler.queued),
            ("earshot_requests_running", "Requests in a worker.", lambda: scheduler.running),
            ("earshot_ready", "1 when ready.", lambda: int(scheduler.state is State.READY)),
        ):
            gauge = Gauge(name, text, ["service"], registry=registry)
            gauge.labels(engine.name).set_function(value)
        ProcessCollector(registry=self.registry)

    def first_chunk(self, priority: Priority, seconds: float) -> None:
        """Count the time to a first chunk."""
        self._first.labels(self._service, priority.name.lower()).observe(seconds)

    def request(self, priority: Priority, result: str, seconds: float) -> None:
        """Count a finished request."""
        self._requests.labels(self._service, priority.name.lower(), result).inc()
        self._latency.labels(self._service, priority.name.lower()).observe(seconds)

    def refused(self, error: ApplianceError) -> None:
        """Count a request that never became a job."""
        self._requests.labels(self._service, "none", self.result_of(error)).inc()

    @staticmethod
    def result_of(error: ApplianceError) -> str:
        """The label of an error: one of a handful."""
        kinds = (
            (Superseded, "superseded"), (TimedOut, "timed_out"), (NotReady, "not_ready"),
            (BadInput, "bad_input"), (NotFound, "not_found"),
        )  # fmt: skip
        if error.http_status == 499:
            return "cancelled"
        return next((label for kind, label in kinds if isinstance(error, kind)), "failed")

    def page(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
