"""Writes monitoring/grafana/dashboards/*.json from the sources beside them: `python scripts/dashboards.py`.

A source is a few lines a panel, which people read and change; Grafana's JSON says the same in fifty.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).resolve().parents[1] / "monitoring" / "grafana"
SOURCES, DASHBOARDS = GRAFANA / "source", GRAFANA / "dashboards"

_WIDTH = 24
_SCHEMA = 39
_DATASOURCE = {"type": "prometheus", "uid": "collab-prometheus"}
# What differs by kind: the height of a row of them, and how Grafana draws one.
_HEIGHTS = {"stat": 4, "timeseries": 8}
_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "values": False},
        "colorMode": "none",
        "graphMode": "area",
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
}


def dashboard(source: dict[str, Any]) -> dict[str, Any]:
    """Return Grafana's dashboard for a source, which has `uid`, `title`, `description`, `rows` and perhaps `variables`."""
    return {
        "uid": source["uid"],
        "title": source["title"],
        "description": source["description"],
        "tags": ["collab-node"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": _SCHEMA,
        "refresh": "15s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [_link()],
        "templating": {"list": [_variable(name, query) for name, query in source.get("variables", {}).items()]},
        "panels": list(_panels(source["rows"])),
    }


def _panels(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    y, number = 0, 1
    for row in rows:
        place = _place(0, y, _WIDTH, 1)
        yield {"id": number, "type": "row", "title": row["title"], "collapsed": False, "gridPos": place, "panels": []}
        y, number = y + 1, number + 1
        height = max(_HEIGHTS[panel["kind"]] for panel in row["panels"])
        width = _WIDTH // len(row["panels"])
        for column, panel in enumerate(row["panels"]):
            yield _panel(panel, number, _place(column * width, y, width, height))
            number += 1
        y += height


def _panel(panel: dict[str, Any], number: int, place: dict[str, int]) -> dict[str, Any]:
    custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 10, "spanNulls": False} if panel["kind"] == "timeseries" else {}
    if panel.get("stacked"):
        custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
    targets = [_target(chr(ord("A") + index), query) for index, query in enumerate(panel["queries"])]
    return {
        "id": number,
        "type": panel["kind"],
        "title": panel["title"],
        "description": panel["help"],
        "datasource": _DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.get("unit", "short"), "custom": custom}, "overrides": []},
        "options": _OPTIONS[panel["kind"]],
        "targets": targets,
    }


def _target(letter: str, query: dict[str, str]) -> dict[str, Any]:
    return {"refId": letter, "datasource": _DATASOURCE, "expr": query["expr"], "legendFormat": query["legend"], "range": True}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "includeAll": False,
        "multi": False,
    }


def _link() -> dict[str, Any]:
    return {
        "title": "collab-node", "type": "dashboards", "tags": ["collab-node"], "asDropdown": False, "includeVars": False,
        "keepTime": True, "targetBlank": False, "icon": "", "tooltip": "", "url": "",
    }  # fmt: skip


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def written(source: Path) -> str:
    """Return the text of the dashboard of a source file."""
    return json.dumps(dashboard(tomllib.loads(source.read_text(encoding="utf-8"))), indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every dashboard anew."""
    for source in sorted(SOURCES.glob("*.toml")):
        (DASHBOARDS / f"{source.stem}.json").write_text(written(source), encoding="utf-8")


if __name__ == "__main__":
    main()
