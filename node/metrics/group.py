"""A few metrics that belong together, in the registry of their node."""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class MetricGroup:
    """Makes metrics; label values that are given exist from the start, so that a first event is a rise, not a birth."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def gauge(self, name: str, help: str, label: str = "", values: tuple[str, ...] = ()) -> Gauge:
        """Make a gauge, with at most one label."""
        made = Gauge(name, help, [label] if label else [], registry=self.registry)
        for value in values:
            made.labels(value)
        return made

    def unknown(self, name: str, help: str, label: str = "", values: tuple[str, ...] = ()) -> Gauge:
        """Make a gauge that is NaN until it is set, where 0 would be a lie."""
        made = self.gauge(name, help, label, values)
        for series in [made.labels(value) for value in values] or [made]:
            series.set(math.nan)
        return made

    def counter(self, name: str, help: str, label: str = "", values: tuple[str, ...] = ()) -> Counter:
        """Make a counter, with at most one label."""
        made = Counter(name, help, [label] if label else [], registry=self.registry)
        for value in values:
            made.labels(value)
        return made

    def seconds(self, name: str, help: str, label: str = "", values: tuple[str, ...] = ()) -> Histogram:
        """Make a histogram of durations, from 50 ms to an hour."""
        made = Histogram(name, help, [label] if label else [], buckets=_SECONDS, registry=self.registry)
        for value in values:
            made.labels(value)
        return made
