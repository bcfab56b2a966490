"""`kill -9` at named instructions of every phase: the others go on within a deadline, and the killed node comes back whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_kit import collab_node
from e2e.kit import be_ready, commits, head, kill_at, line_of, log_lines, peer_id, wait_for_contribution

from collab.node.home import Home
from collab.node.local_swarm import LocalNode, LocalSwarm
from collab.node.trainer.tensor_file import read_note
from collab.protocol.canonical import DOCUMENT_LIMITS, Value, decode

pytestmark = pytest.mark.e2e
COORDINATOR, VOLUNTEER, OTHER = 0, 1, 2


@pytest.mark.parametrize(
    ("index", "phases"),
    [
        pytest.param(VOLUNTEER, ["training", "contributing", "send-attestation"], id="volunteer"),
        pytest.param(OTHER, ["compressing", "send-proposal", "keeping"], id="other"),
        pytest.param(COORDINATOR, ["send-contribution", "adopting"], id="coordinator"),
    ],
)
def test_a_node_killed_in_phase_after_phase_comes_back_whole(
    swarm: LocalSwarm, failpoints: Path, index: int, phases: list[str]
) -> None:
    node = swarm.nodes[index]
    others = [other for other in swarm.nodes if other is not node]
    me = peer_id(node)
    for phase in phases:  # who comes to the next phase takes part again
        kill_at(failpoints, node, phase)
        swarm.wait_for_round(head_of(others) + 1, 60, others)
        assert collab_node("fsck", home=node.home).exit_code == 0
        before, seen = checkpoint(node), len(log_lines(node))
        node.start()
        be_ready(swarm, node)
        restored = line_of(swarm, node, "restored", seen)
        assert restored["round"] == before["round"]
        assert restored["position"] == before["position"]
    wait_for_contribution(swarm, node)
    assert len(set(swarm.states(head(swarm) - 1).values())) == 1
    assert_settled_once(node, me)


def head_of(nodes: list[LocalNode]) -> int:
    return max(commits(node)[-1].round for node in nodes)


def checkpoint(node: LocalNode) -> dict[str, Value]:
    """Return what the node's trainer saved last, without the tensors."""
    note = read_note(Home(node.home).find_event().worker_path / "checkpoint.safetensors")
    facts = decode(bytes.fromhex(note or ""), DOCUMENT_LIMITS)
    assert isinstance(facts, dict)
    return facts


def assert_settled_once(node: LocalNode, me: str) -> None:
    """What a commit merged did not go back into the residual as well, and is not about to."""
    chain = commits(node)[:-1]
    merged = {claim.payload.sha256 for commit in chain for signed, claim in commit.contributions() if signed.signer == me}
    taken_back = {line["payload"] for line in log_lines(node) if line["event"] == "settled" and not line["accepted"]}
    assert taken_back.isdisjoint(digest.hex()[:16] for digest in merged)
    outstanding = checkpoint(node)["outstanding"]
    assert isinstance(outstanding, tuple)
    assert merged.isdisjoint(outstanding)
