"""`panels`, `panels_with_data`, `rules`, `rules_with_data`: a real Prometheus scrapes a small swarm, and is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from collab.node.local_swarm import LocalSwarm

from .expressions import Asked, panels, rules, sides
from .prometheus import Prometheus, prometheus
from .stage import Stage

DEFINITIONS = {
    "panels": "panels of the dashboards in monitoring/",
    "panels_with_data": "panels each of whose expressions gave a number, with a real swarm scraped by a real Prometheus",
    "rules": "recording rules and alerts in monitoring/",
    "rules_with_data": "rules whose expression gave a number; of an alert both sides of its comparison did",
}


def scraped(swarm: LocalSwarm, folder: Path) -> AbstractContextManager[Prometheus]:
    """Return a Prometheus that scrapes the coordinator's node and all who agreed. Raises PrometheusError."""
    return prometheus(folder, swarm.coordinator.ask("status")["metrics_port"])


class Survey:
    """Asks again and again until everything has had data once: a rate needs two scrapes, and a merge has to happen."""

    def __init__(self, scraper: Prometheus, instance: str) -> None:
        """`instance` is the node that "One node" shows."""
        self._scraper = scraper
        self._instance = instance
        self._missing = {asked: list(_questions(asked)) for asked in (*panels(), *rules())}

    def ask(self) -> None:
        """Ask for everything that has had no data yet."""
        for asked, questions in self._missing.items():
            self._missing[asked] = [text for text in questions if not self._scraper.query(self._here(text))]

    def _here(self, expression: str) -> str:
        return expression.replace("$instance", self._instance)

    @property
    def missing(self) -> dict[str, list[str]]:
        """The expressions that never had data, by panel or rule."""
        return {asked.name: questions for asked, questions in self._missing.items() if questions}

    def figures(self) -> dict[str, Any]:
        """Return the figures."""
        found: dict[str, Any] = {}
        for name, group in (("panels", panels()), ("rules", rules())):
            found |= {name: len(group), f"{name}_with_data": sum(not self._missing[asked] for asked in group)}
        return found


def _questions(asked: Asked) -> Iterator[str]:
    for expression in asked.expressions:
        yield from sides(expression)


def survey(swarm: LocalSwarm, scraper: Prometheus, seconds: float) -> Survey:
    """Ask for at most `seconds`, until nothing is missing."""
    port = swarm.nodes[1].ask("status")["metrics_port"]
    made, deadline = Survey(scraper, f"127.0.0.1:{port}"), time.monotonic() + seconds
    while made.missing and time.monotonic() < deadline:
        made.ask()
        time.sleep(0.5)
    return made


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures of monitoring. Raises SwarmError, PrometheusError."""
    with scraped(stage.swarm, stage.folder / "prometheus") as scraper:
        made = survey(stage.swarm, scraper, 40 if stage.quick else 120)
        return made.figures() | ({"monitoring_missing": made.missing} if made.missing else {})
