"""What a swarm of real daemons is for: rounds, the same state everywhere, a history that anyone can replay, late joiners."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from command_kit import collab_node
from e2e.kit import (
    SNAPSHOT_EVERY,
    assert_gone,
    be_ready,
    children,
    commits,
    contributors,
    head,
    kill_at,
    log_lines,
    metric,
    peer_id,
    resting,
    settle_in,
)
from safetensors.numpy import load_file

from collab.node.credit.leaderboard import count_credits
from collab.node.home import Home
from collab.node.local_swarm import LocalNode, LocalSwarm, run
from collab.node.reading import open_store
from collab.node.store import Store
from collab.protocol.commit import Commit
from collab.protocol.credits import Credit

pytestmark = pytest.mark.e2e


def test_all_nodes_agree_and_all_contribute(swarm: LocalSwarm) -> None:
    target = head(swarm) + 4
    swarm.wait_for_round(target, 120)
    states = {round: swarm.states(round) for round in (1, target - 1, target)}
    assert all(len(found) == len(swarm.nodes) for found in states.values())
    assert all(len(set(found.values())) == 1 for found in states.values())
    assert len({found["node-1"] for found in states.values()}) == len(states)
    chain = commits(swarm.coordinator)
    everyone = {peer_id(node) for node in swarm.nodes}
    assert everyone <= set().union(*(contributors(commit) for commit in chain))
    for node in swarm.nodes:
        assert metric(node, "collab_rounds_total") >= 3
        assert metric(node, "collab_head_round") >= target - 1
    credit = {node.name: credits_at(node, target) for node in swarm.nodes}
    assert len(set(credit.values())) == 1
    served = {each.peer: each.served for each in credit["node-1"]}
    assert everyone <= served.keys()
    assert sum(size > 0 for size in served.values()) > 1


def credits_at(node: LocalNode, round: int) -> tuple[Credit, ...]:
    folder = Home(node.home).find_event()
    with open_store(folder) as store:
        digest = store.at_round(round)
        assert digest is not None
        return count_credits(folder.manifest().open(), store, store.commit(digest)).ranking()


def test_a_fresh_process_replays_the_history_from_the_root(swarm: LocalSwarm, tmp_path: Path) -> None:
    round = 2 * SNAPSHOT_EVERY + 1
    swarm.wait_for_round(round, 120)
    copy = tmp_path / "copy"
    replayed, running = tmp_path / "replayed.safetensors", tmp_path / "running.safetensors"
    with resting(swarm.nodes):
        shutil.copytree(swarm.nodes[1].home, copy, ignore=shutil.ignore_patterns("*.sock", "*.lock", "worker", "partial", ".*"))
        with closing(sqlite3.connect(Home(copy).find_event().store_path / "index.sqlite")) as index, index:
            index.execute("DELETE FROM snapshots")  # only the seed and the patches are left
        # Each export fails unless every merge on its way gives the state hash of its commit.
        run("export", str(replayed), "--home", str(copy), "--round", str(round))
        run("export", str(running), "--home", str(swarm.coordinator.home), "--round", str(round))
    assert replayed.read_bytes() == running.read_bytes()
    assert sum(tensor.size for tensor in load_file(replayed).values()) > 10_000


def test_ctrl_c_twice_ends_at_once_and_once_in_order_and_who_comes_back_fetches_only_what_it_missed(swarm: LocalSwarm) -> None:
    node, others = swarm.nodes[3], swarm.nodes[:3]
    processes = children(node)
    assert set(processes) == {"worker", "sidecar", "p2pd"}
    with resting([node]):  # who waits for its worker cannot have stopped before the second
        node.interrupt()
        swarm.wait(lambda: "press Ctrl-C again to stop at once" in node.tail(), 10, "the first Ctrl-C", watch=[node])
        node.interrupt()
        assert node.wait(10) == 130
    assert_gone(processes)
    node.start()
    be_ready(swarm, node)
    processes = children(node)
    node.interrupt()
    assert node.wait() == 0
    assert '"event": "goodbye"' in node.tail(1)
    assert_gone(processes)

    had = blobs(node)
    left = commits(node)[-1].round
    swarm.wait_for_round(left + 3, 90, others)
    seen = len(log_lines(node))
    node.start()
    settle_in(swarm, node)
    lines = log_lines(node)[seen:]
    replayed = [line["round"] for line in lines if line["event"] == "replayed"]
    assert replayed[0] <= left + 1  # from the weights that it had
    assert replayed[-1] >= left + 3
    assert replayed == list(range(replayed[0], replayed[0] + len(replayed)))
    fetched = [line["blob"] for line in lines if line["event"] == "fetched"]
    assert had.isdisjoint(fetched)
    assert len(set(fetched)) == len(fetched)
    assert {short(commit.digest) for commit in commits(node)[left + 1 : left + 4]} <= had | set(fetched)
    assert len(set(swarm.states(head(swarm) - 1).values())) == 1


def test_who_joins_late_without_the_coordinator_and_is_killed_meanwhile_begins_at_a_snapshot(
    swarm: LocalSwarm, failpoints: Path
) -> None:
    swarm.wait_for_round(2 * SNAPSHOT_EVERY, 120)
    coordinator, others = swarm.coordinator, swarm.nodes[1:]
    addresses = [node.ask("status")["addresses"][0] for node in (coordinator, others[0])]
    coordinator.kill()
    flags = [part for address in addresses for part in ("--address", address)]
    (node,) = swarm.join(invite=run("event", "invite", "--home", str(coordinator.home), *flags).strip())
    try:
        kill_at(failpoints, node, "adopting", 120)  # while it catches up for the first time
        assert collab_node("fsck", home=node.home).stdout.endswith("no errors\n")
        seen = len(log_lines(node))
        node.start()
        settle_in(swarm, node)
        lines = log_lines(node)
        start = min(line["round"] for line in lines[seen:] if line["event"] == "replayed") - 1
        assert start > 0
        assert start % SNAPSHOT_EVERY == 0
        downloads = [line for line in lines if line["event"] == "fetched"]
        # What was fetched before the kill may be of rounds that a newer snapshot has made needless.
        fetched = {line["blob"] for line in lines[seen:] if line["event"] == "fetched"}
        assert payloads(commits(node)[: start + 1]).isdisjoint(fetched)
        assert len({donor for line in downloads for donor in line["donors"]}) > 1
        states = swarm.states(head(swarm) - 1)
        assert set(states) == {each.name for each in (*others, node)}
        assert len(set(states.values())) == 1
    finally:
        node.interrupt()
        node.wait()
        swarm.nodes.remove(node)
        coordinator.start()
    settle_in(swarm, coordinator)


def blobs(node: LocalNode) -> set[str]:
    """What lies in the stopped node's store, as its log names it."""
    with Store.open(Home(node.home).find_event().store_path, read_only=True) as store:
        return {short(digest) for digest in store.blobs.digests()}


def payloads(chain: Sequence[Commit]) -> set[str]:
    return {short(contribution.payload.sha256) for commit in chain for _, contribution in commit.contributions()}


def short(digest: bytes) -> str:
    return digest.hex()[:16]
