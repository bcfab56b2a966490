"""The dashboards are what their sources say, what Grafana's published schema knows, and what the provisioning points at."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

import dashboards as builder
import pytest
import yaml
from bench_people.expressions import MONITORING, dashboards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

SOURCES = sorted(builder.SOURCES.glob("*.toml"))
BOARDS = dashboards()
UNITS = {"short", "s", "bytes", "Bps", "percentunit", "dateTimeFromNow"}


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """Where `theirs` lacks something of `ours`, or has something else."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [line for key in ours for line in differences(ours[key], theirs.get(key), f"{where}.{key}")]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [line for at, pair in enumerate(zip(ours, theirs, strict=True)) for line in differences(*pair, f"{where}[{at}]")]
    return [] if ours == theirs else [where]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_a_dashboard_is_what_its_source_says(source: Any) -> None:
    path = builder.DASHBOARDS / f"{source.stem}.json"
    assert path.read_text(encoding="utf-8") == builder.written(source), "run `python scripts/dashboards.py`"


def test_every_dashboard_has_a_source() -> None:
    assert sorted(BOARDS) == [f"{source.stem}.json" for source in SOURCES]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_grafanas_schema_knows_everything_in_it(name: str) -> None:
    register_default_plugins()
    back = json.loads(JSONEncoder().encode(Dashboard.from_json(BOARDS[name])))
    assert differences(BOARDS[name], back) == []


def test_what_the_schema_does_not_know_is_found() -> None:
    register_default_plugins()
    board = json.loads(json.dumps(BOARDS["swarm.json"]))
    board["panels"][1]["gridPosition"] = board["panels"][1].pop("gridPos")
    back = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert differences(board, back) == [".panels[1].gridPosition"]


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_panels_have_distinct_ids_and_places_and_say_what_they_show(name: str) -> None:
    found = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    for one, other in combinations((panel["gridPos"] for panel in found), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    for panel in (panel for panel in found if panel["type"] != "row"):
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["description"].endswith(".")
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in UNITS or re.fullmatch(r"suffix: [a-z/]+", unit)


@pytest.mark.parametrize("name", sorted(BOARDS))
def test_variables_are_used_and_no_other_is(name: str) -> None:
    board = BOARDS[name]
    declared = {variable["name"] for variable in board["templating"]["list"]}
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    used = {name for expression in expressions for name in re.findall(r"\$(\w+)", expression)}
    assert used == declared


def test_dashboards_link_to_one_another_by_distinct_names() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    assert all(re.fullmatch(r"collab-[a-z]+", board["uid"]) for board in BOARDS.values())


def test_provisioning_names_the_datasource_that_panels_use() -> None:
    (source,) = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    used = {panel["datasource"]["uid"] for board in BOARDS.values() for panel in board["panels"] if panel["type"] != "row"}
    assert used == {source["uid"]}


def test_compose_mounts_what_is_there_and_listens_on_loopback() -> None:
    compose = yaml.safe_load((MONITORING / "compose.yml").read_text())
    mounts = [mount.split(":") for service in compose["services"].values() for mount in service["volumes"]]
    folders = {target: source for source, target, *_ in mounts}
    for source in folders.values():
        assert (MONITORING / source).exists() if source.startswith(".") else source in compose["volumes"]
    (provider,) = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/collab.yml").read_text())["providers"]
    assert folders[provider["options"]["path"]] == "./grafana/dashboards"
    text = json.dumps(compose)
    assert "0.0.0.0" not in text
    assert text.count("--web.listen-address=127.0.0.1:") == 2
    assert compose["services"]["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
