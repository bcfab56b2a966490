"""Other recipes on small swarms: Fisher-weighted merges with full ones in between, and dense averaging with Nesterov."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from e2e.kit import commits, contributors, head, peer_id, settle_in, swarm_of

pytestmark = pytest.mark.e2e

FISHER: dict[str, dict[str, Any]] = {
    "merge": {"method": "fisher", "cap": 0.5, "full_every": 3, "full_method": "average", "full_rate": 1.0},
}
DENSE: dict[str, dict[str, Any]] = {
    "compression": {"kind": "fp16"},
    "outer": {"kind": "nesterov", "rate": 0.7, "momentum": 0.9},
}


@pytest.mark.parametrize(
    ("recipe", "kinds"), [pytest.param(FISHER, {True, False}, id="fisher"), pytest.param(DENSE, {False}, id="dense")]
)
def test_a_late_joiner_agrees_and_is_merged(tmp_path: Path, recipe: dict[str, dict[str, Any]], kinds: set[bool]) -> None:
    with swarm_of(tmp_path, 0, **recipe) as swarm:
        swarm.wait_for_round(4, 90)
        (late,) = swarm.join()
        settle_in(swarm, late)
        everyone = {peer_id(node) for node in swarm.nodes}
        swarm.wait(
            lambda: {commit.full for commit in commits(late) if contributors(commit) == everyone} == kinds, 90,
            f"merges of both, full and not: {kinds}",
        )  # fmt: skip
        round = head(swarm)
        swarm.wait_for_round(round, 60)
        for earlier in (1, 3, round):
            found = {node.name: node.ask("commit", round=earlier)["state"] for node in swarm.nodes}
            assert len(set(found.values())) == 1, (earlier, found)
        merge = recipe.get("merge", {"method": "average"})
        for commit in commits(late)[1:]:
            full = commit.round % merge.get("full_every", 1 << 20) == 0
            assert (commit.full, commit.method) == (full, "average" if full else merge["method"])
