"""What operators look at: health and metrics.

Owns those addresses and how the engine's tally is told to Prometheus. Must not know uploads one by one.
Invariant: `/health/live` depends on nothing but the event loop; `/health/ready` on what a new upload needs, and no
more: what is wrong behind that is a warning.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from litestar import HttpMethod, Request, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from tusplyr.core.errors import TusplyrError
from tusplyr.core.headers import CHALLENGE
from tusplyr.engine.tally import Tally
from tusplyr.web.pool import Pool
from tusplyr.web.response import Rendered, json

Measure = Callable[[], Awaitable[None]]
Check = Callable[[], Awaitable[str | None]]
Admit = Callable[[Request[Any, Any, Any]], None]

PROBE = (HttpMethod.GET, HttpMethod.HEAD)  # many monitors ask with HEAD
METRICS = ((b"content-type", CONTENT_TYPE_LATEST.encode()),)

COUNTERS = {
    "uploads_created": "Uploads created.",
    "uploads_stored": "Uploads published.",
    "uploads_terminated": "Uploads terminated by a client.",
    "uploads_expired": "Uploads that expired unfinished.",
    "uploads_lost": "Uploads whose acknowledged bytes were found missing. Should be zero for ever.",
    "uploads_postponed": "Attempts to publish that failed and will be repeated.",
    "uploads_bytes": "Durable bytes received.",
    "bodies_direct": "Request bodies read straight from the socket.",
    "bodies_plain": "Request bodies read the plain way.",
}


class TallyCollector:
    """Reads the engine's numbers when Prometheus asks, and not before."""

    def __init__(self, tally: Tally, pool: Pool) -> None:
        self._tally = tally
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        for name, text in COUNTERS.items():
            value = getattr(self._tally, name.partition("_")[2])
            yield CounterMetricFamily(f"tusplyr_{name}", text, value=value)
        yield GaugeMetricFamily(
            "tusplyr_uploads_waiting", "Uploads that wait to be published or assembled.", value=self._tally.waiting
        )
        yield GaugeMetricFamily(
            "tusplyr_uploads_failing", "Those of them that failed more than twice.", value=self._tally.failing
        )
        yield GaugeMetricFamily("tusplyr_uploads_stuck", "Those of them that failed often.", value=self._tally.stuck)
        yield GaugeMetricFamily("tusplyr_appends_active", "Request bodies being received.", value=self._tally.appending)
        yield GaugeMetricFamily("tusplyr_buffers_free", "Body buffers not in use.", value=self._pool.free)


class Health(Struct, frozen=True):
    """What is looked at. A check returns None when all is well, else what is wrong, for a person.

    Attributes:
        checks: what a new upload needs.
        warnings: what does not keep a new upload from being taken.
        measure: brings the tally up to date before the metrics are read.
    """

    checks: dict[str, Check]
    warnings: dict[str, Check]
    measure: Measure


def routes(health: Health, registry: CollectorRegistry, admit: Admit) -> list[HTTPRouteHandler]:
    """Return the handlers. `admit` raises a `TusplyrError` when a request may not read the metrics."""

    @route("/health/live", http_method=PROBE)
    async def live() -> ASGIApp:
        return json(200, {"status": "ok"})

    @route("/health/ready", http_method=PROBE)
    async def ready() -> ASGIApp:
        problems = await _found(health.checks)
        warnings = await _found(health.warnings)
        rest = {"warnings": warnings} if warnings else {}
        if problems:
            return json(503, {"status": "not ready", "problems": problems} | rest)
        return json(200, {"status": "ok"} | rest)

    @get("/metrics")
    async def metrics(request: Request[Any, Any, Any]) -> ASGIApp:
        try:
            admit(request)
        except TusplyrError as error:
            return json(error.status, {"detail": str(error)}, (CHALLENGE,))
        await health.measure()
        return Rendered(200, METRICS, generate_latest(registry))

    return [live, ready, metrics]


async def _found(checks: dict[str, Check]) -> dict[str, str]:
    return {name: problem for name, check in checks.items() if (problem := await check())}
