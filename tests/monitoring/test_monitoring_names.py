"""Panels and rules ask for what a node shows and for nothing else, and what a node shows is asked for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import pytest
from bench_people.expressions import Asked, dashboards, panels, recorded, rules, sides

from collab.node.metrics.metrics import Metrics
from collab.node.net.traffic import Traffic

# Shown by prometheus-client with the others; no panel needs it.
NOT_ASKED_FOR = {"process_virtual_memory_bytes"}
# What Prometheus itself puts on every series, or makes: any value.
ALWAYS = {"job", "instance", "le", "alertstate"}
EVERYTHING = [*panels(), *rules()]


def registry() -> Metrics:
    metrics = Metrics()
    metrics.read_traffic(Traffic())
    metrics.build({"version": "1", "python": "3"})
    metrics.event(bytes(32), "event")
    return metrics


def shown() -> dict[str, dict[str, set[str]]]:
    """The values of each label of each series that a node shows."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in registry().registry.collect():
        for sample in family.samples:
            labels = found.setdefault(sample.name, defaultdict(set))
            for label, value in sample.labels.items():
                labels[label].add(value)
    return found


def matchers(expression: str) -> Iterator[tuple[str, str, str]]:
    """Yield (series, label, value) of each label that a series is chosen by."""
    for name, inside in re.findall(r"(\w[\w:]*)\{([^}]*)\}", expression):
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', inside):
            yield name, label, value


def test_there_are_four_dashboards_with_panels_and_rules_of_both_kinds() -> None:
    assert len(dashboards()) == 4
    assert len(panels()) > 40
    assert 0 < len(recorded()) < len(rules())


@pytest.mark.parametrize("asked", EVERYTHING, ids=lambda asked: asked.name)
def test_what_is_asked_for_exists(asked: Asked) -> None:
    known = shown()
    assert asked.metrics <= known.keys() | recorded()
    for expression in asked.expressions:
        for name, label, value in matchers(expression):
            if label not in ALWAYS and name in known:
                assert value in known[name][label], f"{name} has no {label}={value}"
        grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in re.split(r",\s*", group)}
        assert grouped <= ALWAYS | {label for labels in known.values() for label in labels}


def test_whatever_a_node_shows_is_asked_for() -> None:
    used = {name for asked in EVERYTHING for name in asked.metrics}
    unused = {
        family.name for family in registry().registry.collect() if not used & {sample.name for sample in family.samples}
    }  # fmt: skip
    assert unused == NOT_ASKED_FOR


def test_whatever_is_recorded_is_asked_for() -> None:
    assert recorded() <= {name for asked in EVERYTHING for name in asked.metrics}


def test_a_name_that_does_not_exist_is_found() -> None:
    asked = Asked("typo", ('sum by (phase) (rate(collab_rounds_totl{phase="x"}[5m])) / swarm:nothing:max > 3',))
    assert asked.metrics == {"collab_rounds_totl", "swarm:nothing:max"}


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        ("a > 3", ["a", "3"]),
        ("sum(a > 3) <= max(b{c!= 'd'})", ["sum(a > 3)", "max(b{c!= 'd'})"]),
        ("avg(a > -Inf)", ["avg(a > -Inf)"]),
        ("a < 0.6 * max_over_time(a[6h])", ["a", "0.6 * max_over_time(a[6h])"]),
    ],
)
def test_a_comparison_has_two_sides(expression: str, parts: list[str]) -> None:
    assert sides(expression) == parts
