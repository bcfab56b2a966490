"""A node's child processes: restarted when they die, gone when the daemon is."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from e2e.kit import children, head, log_lines, metric, swarm_of, wait_for_contribution

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


def test_ctrl_c_once_says_goodbye_twice_ends_at_once_and_no_child_outlives_a_daemon(tmp_path: Path) -> None:
    with swarm_of(tmp_path, 0) as swarm:
        node = swarm.coordinator
        swarm.wait_for_round(1, 60)
        processes = children(node)
        assert set(processes) == {"worker", "sidecar", "p2pd"}
        node.kill()
        assert_gone(processes)
        node.start()
        swarm.wait_for_round(2, 60)
        processes = children(node)
        node.interrupt()
        assert node.wait(10) == 0
        assert '"event": "goodbye"' in node.tail(1)
        assert_gone(processes)
        node.start()
        swarm.wait(lambda: set(children(node)) == {"worker", "sidecar", "p2pd"}, 60, "the children")
        processes = children(node)
        node.interrupt()
        swarm.wait(lambda: log_lines(node)[-1]["event"] != "goodbye" and "stopping" in node.tail(2), 10, "the first Ctrl-C")
        node.interrupt()
        assert node.wait(3) == 130
        assert_gone(processes)


def assert_gone(processes: dict[str, psutil.Process]) -> None:
    deadline = time.monotonic() + 5
    while alive := [name for name, process in processes.items() if runs(process)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def runs(process: psutil.Process) -> bool:
    """Say whether it runs: a zombie, which waits for whoever adopted it, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
