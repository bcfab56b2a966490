"""The made-up swarm that the dashboard is measured on is one that the dashboard can read."""

from __future__ import annotations

from pathlib import Path

from bench_people.simulated import SimulatedSwarm, answering

from collab.node.dashboard.reader import Reader
from collab.node.home import Home


def test_everybody_is_there_and_moves(tmp_path: Path) -> None:
    swarm = SimulatedSwarm(Home(tmp_path / "home"), 5)
    try:
        swarm.grow(3)
        with answering(swarm.home, swarm.answers()):
            reader = Reader(swarm.home, swarm.folder)
            first, later = reader.read(), reader.read()
            reader.close()
    finally:
        swarm.close()
    assert first.values["totals"]["round"] == 3
    assert first.values["node"]["running"]
    assert len(first.tables["peers"]) == 5
    moved = [peer for peer, row in later.tables["peers"].items() if row != first.tables["peers"][peer]]
    assert len(moved) == 4
    assert all(row["here"] for row in later.tables["peers"].values())
