"""`panels`, `panels_with_data`, `rules`, `rules_with_data`: a real Prometheus scrapes a small swarm, and is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collab.node.local_swarm import LocalSwarm, local_swarm

from .event import write_event
from .expressions import Asked, panels, rules, sides
from .prometheus import Prometheus, prometheus

DEFINITIONS = {
    "panels": "panels of the dashboards in monitoring/",
    "panels_with_data": "panels each of whose expressions gave a number, with a real swarm scraped by a real Prometheus",
    "rules": "recording rules and alerts in monitoring/",
    "rules_with_data": "rules whose expression gave a number; of an alert both sides of its comparison did",
}


@contextmanager
def watched_swarm(folder: Path) -> Iterator[tuple[LocalSwarm, Prometheus]]:
    """A coordinator's node that evaluates, two volunteers of whom one shares its metrics, and a Prometheus that scrapes them."""
    event, settings = write_event(folder / "event.toml"), folder / "evaluates.toml"
    settings.write_text("evaluate_every = 1\n", encoding="utf-8")
    with local_swarm(folder, event) as swarm:
        seed = swarm.seed(trains=False, arguments=["--config", str(settings)])
        invite = swarm.invite()
        swarm.join(invite=invite, arguments=["--share-metrics"])
        swarm.join(invite=invite)
        with prometheus(folder / "prometheus", seed.ask("status")["metrics_port"]) as scraper:
            yield swarm, scraper


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


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Return the figures of monitoring. Raises SwarmError, PrometheusError."""
    with watched_swarm(folder) as (swarm, scraper):
        swarm.wait_for_round(1, 60)
        made = survey(swarm, scraper, 40 if quick else 120)
        return made.figures() | ({"monitoring_missing": made.missing} if made.missing else {})
