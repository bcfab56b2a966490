"""`dashboard_…`: the page of a swarm of 200 made-up peers, served by the real command, opened in the installed browser."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import psutil

from collab.node.dashboard.local import LocalDashboard, local_dashboard
from collab.node.errors import UserError
from collab.node.home import Home

from .browser import chromium, chromium_processes, heap_of, open_page, updates_of
from .processes import cpu_seconds
from .simulated import SimulatedSwarm, answering
from .stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NODES = 200
DEFINITIONS = {
    "dashboard_load_seconds_200_nodes": "from asking for the page to 200 peers and all rounds drawn, nothing cached; median",
    "dashboard_cpu_share": "of a core, what the dashboard's process takes while a page is open on 200 peers of whom all move",
    "dashboard_browser_cpu_share": "of a core, what the browser takes meanwhile, all its processes",
    "dashboard_page_heap_mb": "JavaScript's heap of a page after it was opened, garbage collected",
    "dashboard_page_heap_mb_later": "the same after as many updates as dashboard_page_updates says",
    "dashboard_page_updates": "how many updates lie between the two",
}


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures: first those that others on the machine do not move. Raises UserError where there is no browser."""
    quick, swarm = stage.quick, SimulatedSwarm(Home(stage.folder / "home"), NODES)
    try:
        swarm.grow(15 if quick else 120)
        with answering(swarm.home, swarm.answers()), chromium() as browser:
            with local_dashboard(swarm.home.path, "--every", "0.05") as dashboard:
                found = _memory(browser, dashboard, swarm, 50 if quick else 1800)
            with local_dashboard(swarm.home.path) as dashboard:
                found |= _cost(browser, dashboard, swarm, 5 if quick else 60)
                stage.quiet()
                found |= _load(browser, dashboard, 3 if quick else 9)
    finally:
        swarm.close()
    return found


def _load(browser: Browser, dashboard: LocalDashboard, times: int) -> dict[str, Any]:
    seconds = []
    for _ in range(times):
        context = browser.new_context()  # nothing cached
        page = context.new_page()
        open_page(page, dashboard.url, NODES)
        seconds.append(page.evaluate("performance.getEntriesByName('drawn')[0].startTime") / 1000)
        context.close()
    return {"dashboard_load_seconds_200_nodes": round(statistics.median(seconds), 3)}


def _cost(browser: Browser, dashboard: LocalDashboard, swarm: SimulatedSwarm, seconds: float) -> dict[str, Any]:
    _wait_until_read(dashboard)
    page = browser.new_page()
    open_page(page, dashboard.url, NODES)
    server = psutil.Process(dashboard.process.pid)
    browsers = chromium_processes()
    began, before, shown = time.monotonic(), cpu_seconds([server]), cpu_seconds(browsers)
    for _ in range(5):
        swarm.grow(1)
        page.wait_for_timeout(200 * seconds)
    took = time.monotonic() - began
    shares = {"dashboard_cpu_share": cpu_seconds([server]) - before, "dashboard_browser_cpu_share": cpu_seconds(browsers) - shown}
    page.close()
    return {name: round(share / took, 4) for name, share in shares.items()}


def _memory(browser: Browser, dashboard: LocalDashboard, swarm: SimulatedSwarm, updates: int) -> dict[str, Any]:
    """Leave a page open for as many updates as an hour has, made faster."""
    _wait_until_read(dashboard)
    page = browser.new_page()
    open_page(page, dashboard.url, NODES)
    page.wait_for_timeout(2000)
    first, before = updates_of(page), heap_of(page)
    while updates_of(page) - first < updates:
        swarm.grow(1)
        page.wait_for_timeout(2000)
    found = {
        "dashboard_page_heap_mb": before,
        "dashboard_page_heap_mb_later": heap_of(page),
        "dashboard_page_updates": updates_of(page) - first,
    }
    page.close()
    return found


def _wait_until_read(dashboard: LocalDashboard, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"{dashboard.url}data.json", timeout=10) as answer:
            reading = json.load(answer)["values"].get("reading", {"left": 1})
        if not reading["left"]:
            return
        time.sleep(0.2)
    raise UserError("the dashboard did not read the history in time")
