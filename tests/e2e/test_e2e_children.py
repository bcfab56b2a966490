"""A node's child processes are restarted when they die."""

from __future__ import annotations

import psutil
import pytest
from e2e.kit import children, head, metric, wait_for_contribution

from collab.node.local_swarm import LocalNode, LocalSwarm

pytestmark = pytest.mark.e2e


def test_dead_children_are_restarted_and_the_nodes_go_on(swarm: LocalSwarm) -> None:
    victims = dict(zip(("worker", "sidecar", "p2pd"), swarm.nodes[1:], strict=True))
    before = {name: metric(node, "collab_child_restarts_total", child=name) for name, node in victims.items()}
    killed = {name: children(node)[name] for name, node in victims.items()}
    for process in killed.values():
        process.kill()
    for name, node in victims.items():
        swarm.wait(lambda name=name, node=node: has_another(node, name, killed[name]), 60, f"another {name}")  # type: ignore[misc]
        assert metric(node, "collab_child_restarts_total", child=name) == before[name] + 1
    for node in victims.values():
        wait_for_contribution(swarm, node)
    assert len(set(swarm.states(head(swarm) - 1).values())) == 1


def has_another(node: LocalNode, name: str, old: psutil.Process) -> bool:
    found = children(node).get(name)
    return found is not None and found.pid != old.pid
