"""Every expression that monitoring/ asks Prometheus for: in panels, in rules that record, in alerts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
_COMPARISON = re.compile(r" (?:[<>]=?|[=!]=) ")
_NAME = re.compile(r"\b(?:collab|process|swarm|instance)[_:][a-z0-9_:]+")


@dataclass(frozen=True)
class Asked:
    """A panel or a rule, called `name` for people, and its expressions."""

    name: str
    expressions: tuple[str, ...]

    @property
    def metrics(self) -> frozenset[str]:
        """The names of the series that it reads."""
        return frozenset(name for expression in self.expressions for name in _NAME.findall(_bare(expression)))


def panels() -> list[Asked]:
    """Return the panels of all dashboards."""
    return [
        Asked(f"{board['title']}: {panel['title']}", tuple(target["expr"] for target in panel["targets"]))
        for board in dashboards().values()
        for panel in board["panels"]
        if panel["type"] != "row"
    ]


def dashboards() -> dict[str, dict[str, Any]]:
    """Return Grafana's dashboards by file name."""
    paths = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def rules() -> list[Asked]:
    """Return what is recorded and what alarms."""
    return [Asked(rule.get("record") or rule["alert"], (rule["expr"],)) for rule in _rules()]


def recorded() -> frozenset[str]:
    """Return the names of the series that rules record."""
    return frozenset(rule["record"] for rule in _rules() if "record" in rule)


def _rules() -> Iterator[dict[str, Any]]:
    for path in sorted((MONITORING / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def sides(expression: str) -> list[str]:
    """Return what an expression compares: both sides of a comparison outside of all brackets, else the whole."""
    depth, masked = 0, ""
    for letter in expression:
        depth += (letter in "({[") - (letter in ")}]")
        masked += letter if depth == 0 else "x"
    found = _COMPARISON.search(masked)
    return [expression[: found.start()].strip(), expression[found.end() :].strip()] if found else [expression]


def _bare(expression: str) -> str:
    """Return the expression without label matchers, groupings and other words that are no names of series."""
    return re.sub(r"\{[^}]*\}|\b(?:by|without|ignoring|on|group_left)\s*\([^)]*\)", "", expression)
