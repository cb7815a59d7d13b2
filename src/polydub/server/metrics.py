"""Figures of this process for Prometheus: of requests here; others register their own on the library's own registry."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counts what is answered. Labels are templates of routes, never the paths that were asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._seconds = Histogram(
            "polydub_request_seconds", "Time until an answer was sent.", labels, buckets=_SECONDS, registry=self.registry
        )
        self._open = Gauge("polydub_requests_open", "Requests being answered.", registry=self.registry)
        self._queue = Gauge("polydub_queue_depth", "Jobs and steps that wait.", ("queue",), registry=self.registry)
        self.audit = Counter("polydub_logins_refused", "Logins with a wrong password or token.", registry=self.registry)

    def begun(self) -> None:
        """A request has come."""
        self._open.inc()

    def ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """It was answered."""
        self._open.dec()
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"
        self._seconds.labels(known, route, str(status)).observe(seconds)

    def text(self, queues: Mapping[str, int]) -> bytes:
        """All figures in Prometheus' text format."""
        for name, depth in queues.items():
            self._queue.labels(name).set(depth)
        return generate_latest(self.registry) + generate_latest(REGISTRY)
