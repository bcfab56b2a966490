"""`page_…`: a dashboard that stays open beside a running swarm, looked at once a minute: does it grow?

The swarm rests most of the time, so that an hour of this can run beside other work; its page gets the same news as any.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from statistics import linear_regression
from typing import TYPE_CHECKING, Any

import psutil

from collab.node.dashboard.local import local_dashboard
from collab.node.local_swarm import LocalSwarm, SwarmError, local_swarm

from .browser import chromium, chromium_processes, heap_of, nodes_of, open_page, updates_of
from .event import write_event
from .processes import cpu_seconds, family, slow

if TYPE_CHECKING:
    from playwright.sync_api import Page

DEFINITIONS = {
    "page_minutes": "how long a page of a running swarm of three stayed open",
    "page_rounds": "rounds that were merged meanwhile",
    "page_updates": "how often the page had news",
    "page_heap_mb": "JavaScript's heap, garbage collected: after a minute, at the end, and its growth an hour by least squares",
    "page_nodes": "nodes of the document, the same three",
    "page_dashboard_mb": "resident memory of the dashboard's process, the same three",
    "page_cpu_share": "of a core, what swarm, dashboard and browser took together",
}
_PAUSE_SECONDS = 15.0
# All wait for a coordinator that is slow.
_EVENT: dict[str, dict[str, Any]] = {
    "inner": {"steps": 8}, "rounds": {"deadline": 120.0, "collect": 60.0, "view": 20.0, "snapshot_every": 20},
}  # fmt: skip
_PEERS = 3


@dataclass(frozen=True)
class Sample:
    """One look."""

    minute: float
    heap: float
    nodes: int
    dashboard: float


def measure(folder: Path, *, minutes: float) -> dict[str, Any]:
    """Return the figures. Raises SwarmError, and UserError where there is no browser."""
    with (
        chromium() as browser,
        _swarm(folder) as swarm,
        local_dashboard(swarm.coordinator.home) as dashboard,
    ):
        page = browser.new_page()
        open_page(page, dashboard.url, _PEERS)
        with slow(swarm.coordinator, _PAUSE_SECONDS):
            return _watch(page, psutil.Process(dashboard.process.pid), swarm, minutes)


def _watch(page: Page, server: psutil.Process, swarm: LocalSwarm, minutes: float) -> dict[str, Any]:
    everything = [server, *chromium_processes(), *_nodes(swarm)]
    began, cpu, first, updates = time.monotonic(), cpu_seconds(everything), _round(swarm), updates_of(page)
    samples: list[Sample] = []
    while not samples or samples[-1].minute < minutes:
        page.wait_for_timeout(1000 * max(0.0, began + 60 * (len(samples) + 1) - time.monotonic()))
        samples.append(_look(page, server, (time.monotonic() - began) / 60))
        _say(samples[-1], _round(swarm))
    return {
        "page_minutes": round(samples[-1].minute, 1), "page_rounds": _round(swarm) - first,
        "page_updates": updates_of(page) - updates, **trends(samples),
        "page_cpu_share": round((cpu_seconds(everything) - cpu) / (time.monotonic() - began), 3),
    }  # fmt: skip


@contextmanager
def _swarm(folder: Path) -> Iterator[LocalSwarm]:
    """A coordinator's node that evaluates and two volunteers, after the first round."""
    with local_swarm(folder, write_event(folder / "event.toml", _EVENT)) as swarm:
        swarm.seed(trains=False)
        swarm.join(_PEERS - 1)
        swarm.wait_for_round(1, 180)
        yield swarm


def _look(page: Page, server: psutil.Process, minute: float) -> Sample:
    return Sample(minute, heap_of(page), nodes_of(page), round(server.memory_info().rss / 1e6, 1))


def trends(samples: list[Sample]) -> dict[str, list[float]]:
    """Return first, last, and growth an hour of each figure."""
    minutes, *columns = zip(*(astuple(sample) for sample in samples), strict=True)
    names = ("page_heap_mb", "page_nodes", "page_dashboard_mb")
    return {name: [column[0], column[-1], _growth(minutes, column)] for name, column in zip(names, columns, strict=True)}


def _growth(minutes: tuple[float, ...], values: tuple[float, ...]) -> float:
    return round(60 * linear_regression(minutes, values).slope, 3) if len(minutes) > 1 else 0.0


def _round(swarm: LocalSwarm) -> int:
    for node in swarm.nodes:
        if not node.alive:
            raise SwarmError(f"{node.name} has ended\n{node.tail()}")
    return int(swarm.coordinator.ask("status")["round"])


def _nodes(swarm: LocalSwarm) -> list[psutil.Process]:
    return [process for node in swarm.nodes if node.process is not None for process in family(node.process.pid)]


def _say(sample: Sample, round: int) -> None:
    print(
        f"{sample.minute:5.1f} min: heap {sample.heap} MB, {sample.nodes} nodes, dashboard {sample.dashboard} MB, round {round}",
        file=sys.stderr, flush=True,
    )  # fmt: skip
