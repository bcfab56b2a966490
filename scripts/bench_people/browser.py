"""The installed Chromium, headless, and what can be asked about a page in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from collab.node.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile. Raises UserError where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("the dashboard is measured with the package playwright", "`scripts/test` sets it up") from error
    program = shutil.which("chromium")
    if program is None:
        raise UserError("the dashboard is measured in Chromium, which is not here", "`apt-get install -y chromium`")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, headless=True, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def open_page(page: Page, url: str, peers: int) -> None:
    """Go to a dashboard and wait until it has drawn `peers` peers, the rounds and the loss."""
    page.goto(url)
    page.wait_for_selector(f"#swarm-map .dots > g:nth-child({peers})", state="attached")
    page.wait_for_selector("#rounds tbody tr")
    page.wait_for_selector("#loss-chart path.first", state="attached")


def updates_of(page: Page) -> int:
    """Return how often a dashboard's page has had news."""
    return int(page.evaluate("dashboardState.updates"))


def heap_of(page: Page) -> float:
    """Return what JavaScript holds in the page once its garbage is collected, in MB."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return round(float(used) / 1e6, 2)


def nodes_of(page: Page) -> int:
    """Return how many nodes of documents the page holds, those among them that are not shown any more."""
    session = page.context.new_cdp_session(page)
    found = session.send("Memory.getDOMCounters")["nodes"]
    session.detach()
    return int(found)


def chromium_processes() -> list[psutil.Process]:
    """Return the browser's own."""
    return [process for process in psutil.Process().children(recursive=True) if "chrom" in process.name()]
