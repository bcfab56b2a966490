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


@pytest.mark.parametrize("recipe", [pytest.param(FISHER, id="fisher"), pytest.param(DENSE, id="dense")])
def test_nodes_agree_and_late_joiners_too(tmp_path: Path, recipe: dict[str, dict[str, Any]]) -> None:
    with swarm_of(tmp_path, 1, **recipe, rounds={"min_contributors": 2}) as swarm:
        swarm.wait_for_round(4, 90)
        (late,) = swarm.join()
        settle_in(swarm, late)
        round = head(swarm)
        swarm.wait_for_round(round, 60)
        for earlier in (1, 3, round):
            found = {node.name: node.ask("commit", round=earlier)["state"] for node in swarm.nodes}
            assert len(set(found.values())) == 1, (earlier, found)
        chain = commits(late)
        assert {peer_id(node) for node in swarm.nodes} == set().union(*(contributors(commit) for commit in chain))
        merge = recipe.get("merge", {"method": "average"})
        for commit in chain[1:]:
            full = commit.round % merge.get("full_every", 1 << 20) == 0
            assert (commit.full, commit.method) == (full, "average" if full else merge["method"])
