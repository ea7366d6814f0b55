"""How long callers wait, for Prometheus: counted from the turns in the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest

from appliance import logs
from appliance.errors import Refused
from appliance.store import Store
from appliance.store.vocabulary import STAGES
from services.panel.access.identity import is_secure

BUCKETS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
# A turn is counted once. What a synthetic caller heard is added a moment after the turn's end.
SETTLED = timedelta(seconds=30)
# The clock of a box without a battery is set far forward when it hears the time.
_SET_S = 5.0

router = APIRouter(include_in_schema=False)
log = logs.get(__name__)


class Latency:
    """A histogram that takes up, whenever it is read, what has been finished meanwhile.

    Args:
        store: where turns are kept.
        now: the time, in UTC; what was finished before the histogram was made is not counted.
        clock: seconds that only go forward: tells time that passed from a clock that was set.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now, self._clock = now, clock
        self._counted_until, self._counted_s = now() - SETTLED, clock()
        self._lock = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._histogram = Histogram(
            "voice_turn_latency_seconds", "From the caller's last voiced sample to each stage.",
            ["stage"], buckets=BUCKETS_S, registry=self._registry,
        )  # fmt: skip
        for stage in STAGES:
            # Shown from the first time on, with zeros: a rate needs a beginning.
            self._histogram.labels(stage)

    async def page(self) -> bytes:
        """The text that Prometheus reads.

        Raises:
            ApplianceError: the store does not answer.
        """
        async with self._lock:
            until, now_s = self._now() - SETTLED, self._clock()
            passed_s = (until - self._counted_until).total_seconds()
            if abs(passed_s - (now_s - self._counted_s)) > _SET_S:
                # The time between is none that passed: turns of long ago may lie in it.
                log.info("clock_was_set", by_s=round(passed_s - (now_s - self._counted_s)))
                self._counted_until, self._counted_s = until, now_s
            elif until > self._counted_until:
                times = await asyncio.to_thread(self._store.turns.times, self._counted_until, until)
                self._counted_until, self._counted_s = until, now_s
                for ms in times:
                    self._count(ms)
            return generate_latest(self._registry)

    def _count(self, ms: dict[str, int | None]) -> None:
        for stage in STAGES:
            value = ms.get(stage)
            if value is not None:
                # An answer that is there before its question's end is as fast as can be.
                self._histogram.labels(stage).observe(max(0.0, value / 1000))


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """For a Prometheus on this machine, with a key that may read."""
    if is_secure(request.headers):
        raise Refused(
            "metrics_local", "The metrics are for programs on the box's own machine.",
            "Ask http://localhost:8080/metrics there.",
        )  # fmt: skip
    latency: Latency = request.app.state.latency
    return Response(await latency.page(), media_type=CONTENT_TYPE_LATEST)
