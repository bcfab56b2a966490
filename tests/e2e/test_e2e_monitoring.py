"""A real swarm, a real Prometheus, and everything that monitoring/ asks for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from bench_people.monitoring import scraped, survey
from bench_people.prometheus import find
from bench_people.stage import watched_swarm

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"),
]


def test_every_panel_and_every_rule_has_data_and_only_who_agreed_is_scraped(tmp_path: Path) -> None:
    with watched_swarm(tmp_path) as swarm, scraped(swarm, tmp_path / "prometheus") as scraper:
        swarm.join()
        swarm.wait_for_round(1, 90)
        found = survey(swarm, scraper, 120)
        assert found.missing == {}
        figures = found.figures()
        assert figures["panels"] == figures["panels_with_data"] > 40
        assert figures["rules"] == figures["rules_with_data"] > 20
        coordinator, sharing, private = (node.ask("status")["metrics_port"] for node in swarm.nodes)
        wanted = {f"collab-coordinator 127.0.0.1:{coordinator}": "up", f"collab-nodes 127.0.0.1:{sharing}": "up"}
        assert scraper.targets() == wanted
        assert private not in (coordinator, sharing)
        # The one that nobody scrapes is in the coordinator's sums all the same.
        assert scraper.query("max_over_time(swarm:trainers:max[5m])") == [2.0]
        peers = scraper.get("query", query='count by (peer) (collab_head_round{job="collab-nodes"})')["result"]
        assert [series["metric"]["peer"] for series in peers] == [swarm.nodes[1].ask("status")["peer"]]
        assert not scraper.get("query", query='ALERTS{alertstate="firing", severity="critical"}')["result"]
