"""The dashboard on a real swarm: it shows who is here, follows a new commit, and asks no other host for anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard.kit import Watched, browser, needs_browser
from e2e.kit import head
from playwright import sync_api as playwright

from collab.node.dashboard.local import local_dashboard
from collab.node.local_swarm import LocalSwarm, run

pytestmark = [pytest.mark.e2e, needs_browser]


def test_the_dashboard_follows_a_running_swarm(swarm: LocalSwarm, tmp_path: Path) -> None:
    home = swarm.coordinator.home
    with browser() as chromium, local_dashboard(home, "--evaluate") as dashboard:
        watched = Watched(chromium.new_page())
        page = watched.open(dashboard.url)
        first = int(page.title().rsplit(" ", 1)[1])
        swarm.wait_for_round(max(head(swarm), first) + 1, 60)
        playwright.expect(page.locator(f"#rounds tbody th:text-is('{first + 1}')")).to_be_visible(timeout=20_000)
        playwright.expect(page.locator("#swarm-map .dot")).to_have_count(len(swarm.nodes), timeout=20_000)
        playwright.expect(page.locator("#swarm-map .lines line")).to_have_count(len(swarm.nodes) - 1, timeout=20_000)
        playwright.expect(page.locator("#loss-chart path.first")).to_be_attached(timeout=60_000)
        assert page.locator("#people tbody tr").count() == len(swarm.nodes)
        assert page.locator("#phases [aria-current]").count() == 1
        assert page.locator("#this-node .bad").count() == 0
        assert watched.problems == []
        assert watched.hosts == {"127.0.0.1"}
        run("dashboard", "--home", str(home), "--export", str(tmp_path / "page"))
        page.goto((tmp_path / "page" / "index.html").as_uri())
        playwright.expect(page.locator("#link")).to_contain_text("As of")
