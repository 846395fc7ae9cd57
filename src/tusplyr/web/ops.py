"""What operators look at: health and metrics.

Owns those addresses and how the engine's tally is told to Prometheus. Must not know uploads one by one.
Invariant: `/health/live` depends on nothing but the event loop; `/health/ready` on what a new upload needs.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from litestar import HttpMethod, Request, get, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from tusplyr.core.errors import TusplyrError
from tusplyr.core.headers import CHALLENGE
from tusplyr.engine.tally import Tally
from tusplyr.web.pool import Pool
from tusplyr.web.response import Rendered, json

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
        yield GaugeMetricFamily("tusplyr_appends_active", "Request bodies being received.", value=self._tally.appending)
        yield GaugeMetricFamily("tusplyr_buffers_free", "Body buffers not in use.", value=self._pool.free)


def routes(checks: dict[str, Check], registry: CollectorRegistry, admit: Admit) -> list[HTTPRouteHandler]:
    """Return the handlers. A check returns None when all is well, else what is wrong, for a person.

    `admit` raises a `TusplyrError` when a request may not read the metrics.
    """

    @route("/health/live", http_method=PROBE)
    async def live() -> ASGIApp:
        return json(200, {"status": "ok"})

    @route("/health/ready", http_method=PROBE)
    async def ready() -> ASGIApp:
        problems = {name: problem for name, check in checks.items() if (problem := await check())}
        if problems:
            return json(503, {"status": "not ready", "problems": problems})
        return json(200, {"status": "ok"})

    @get("/metrics")
    async def metrics(request: Request[Any, Any, Any]) -> ASGIApp:
        try:
            admit(request)
        except TusplyrError as error:
            return json(error.status, {"detail": str(error)}, (CHALLENGE,))
        return Rendered(200, METRICS, generate_latest(registry))

    return [live, ready, metrics]
