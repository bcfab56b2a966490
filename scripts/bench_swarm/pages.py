"""Reading a node's /metrics page."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from collab.node.local_swarm import SwarmError


@dataclass(frozen=True)
class Page:
    """What the bench takes from a page: seconds by phase of a round, and all bytes sent."""

    phases: dict[str, float]
    bytes_sent: float


def parse_page(text: str) -> Page:
    """Return what a page in Prometheus' text format says."""
    phases: dict[str, float] = {}
    sent = 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "collab_round_phase_seconds_sum":
                phases[sample.labels["phase"]] = sample.value
            elif sample.name == "collab_network_bytes_total" and sample.labels["direction"] == "sent":
                sent += sample.value
    return Page(phases, sent)


def read_page(port: int) -> Page:
    """Fetch the page of a node on this machine. Raises SwarmError."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return parse_page(answer.read().decode())
    except OSError as error:
        raise SwarmError(f"a node's /metrics cannot be read: {error}") from error


def overhead_share(first: Page, last: Page) -> float | None:
    """Return 1 − (seconds in the phase "training") / (seconds in all phases) between two pages; None if no time passed."""
    spent = {phase: seconds - first.phases.get(phase, 0.0) for phase, seconds in last.phases.items()}
    total = sum(spent.values())
    return 1.0 - spent.get("training", 0.0) / total if total > 0 else None


def bytes_between(pages: Iterable[tuple[Page, Page]]) -> float:
    """Return the bytes that nodes sent between their first and last page, together."""
    return sum(last.bytes_sent - first.bytes_sent for first, last in pages)
