"""What coordinators decide while an event runs: it reaches every node, counts in every replay, and ends where they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e.kit import (
    LOGS,
    commits,
    contributors,
    fails,
    head,
    metric,
    peer_id,
    resting,
    settle_in,
    swarm_of,
    wait_for_contribution,
)

from collab.node.local_swarm import LocalNode, run

pytestmark = pytest.mark.e2e


def decide(node: LocalNode, *arguments: str) -> str:
    """Run one of the commands of `event` in a node's home."""
    return run("event", *arguments, "--home", str(node.home))


def known(node: LocalNode) -> list[int]:
    """The numbers of the amendments in a node's store, which outlives it."""
    return [int(each["number"]) for each in json.loads(decide(node, "amendments", "--json"))]


def test_a_ban_an_announcement_an_extension_and_a_close_reach_everybody(tmp_path: Path) -> None:
    with swarm_of(tmp_path, 2, rounds={"last_round": 60}) as swarm:
        coordinator, honest, cheat = swarm.nodes
        wait_for_contribution(swarm, cheat, 120)
        banned = peer_id(cheat)

        said = decide(coordinator, "announce", "the data moves on Sunday")
        assert said.startswith("amendment 1: announced")
        swarm.wait(lambda: (honest.status() or {}).get("announcements") == ["the data moves on Sunday"], 30, "the sentence")

        said = decide(coordinator, "ban", banned[-8:], "--reason", "sent noise")
        assert f"revert --contributor {banned}" in said
        assert cheat.wait(60) == 3
        assert "error: the coordinators banned this node's key: sent noise" in cheat.log.read_text()
        decide(coordinator, "extend", "--last-round", "500")
        swarm.wait(lambda: (honest.status() or {}).get("decided") == "the event ends after round 500", 30, "the extension")

        since = head(swarm)
        live = [coordinator, honest]
        swarm.wait_for_round(since + 2, 90, live)
        newest = commits(coordinator)
        assert not any(banned in contributors(commit) for commit in newest[since + 1 :])
        assert newest[-1].amendment is not None
        assert banned not in {member.peer for member in newest[-1].roster}
        assert known(honest) == known(coordinator) == [1, 2, 3]

        # Somebody who comes now replays all of it, and knows what was decided.
        (late,) = swarm.join()
        settle_in(swarm, late)
        last = head(swarm)
        swarm.wait_for_round(last, 90, [coordinator, honest, late])
        states = {node: state for node, state in swarm.states(last).items() if node != cheat.name}
        assert len(states) == 3
        assert len(set(states.values())) == 1
        assert known(late) == [1, 2, 3]
        assert metric(late, "collab_head_round") >= last

        with resting([coordinator, honest, late]):
            said = decide(coordinator, "close")
        end = int(said.rsplit(" ", 1)[1])
        for node in (honest, late):
            assert node.wait(120) == 0
        assert [commits(node)[-1].round for node in (coordinator, honest, late)] == [end] * 3
        assert len({commits(node)[-1].digest for node in (coordinator, honest, late)}) == 1

        # Who comes now gets the model, and is told.
        home = tmp_path / "too late"
        code, said = fails("join", swarm.invite(), "--host", "127.0.0.1", "--home", str(home), *LOGS)
        assert code == 3
        assert said.splitlines() == [
            f"error: this event is closed: round {end} was its last",
            "hint: `collab-node export` saves the model that it made",
        ]
        assert commits(LocalNode("too late", home))[-1].digest == commits(coordinator)[-1].digest

        # A fresh process checks every rule again, from what one store holds.
        run("verify", "--home", str(late.home))
        run("verify", "--home", str(honest.home))


def test_a_pause_made_offline_and_a_new_recipe(tmp_path: Path) -> None:
    with swarm_of(tmp_path, 1) as swarm:
        coordinator, volunteer = swarm.nodes
        swarm.wait_for_round(2, 90)
        coordinator.interrupt()
        assert coordinator.wait() == 0
        assert "the swarm hears of it when one starts" in decide(coordinator, "pause", "--reason", "the data moves")
        coordinator.start()
        swarm.wait(lambda: (volunteer.status() or {}).get("pauser") == "coordinators", 90, "the volunteer to rest")
        paused = volunteer.status() or {}
        assert paused["paused"] == "the coordinators paused the event: the data moves"
        before = head(swarm)
        recipe = tmp_path / "recipe.toml"
        recipe.write_text("[inner]\nsteps = 40\n[outer]\nrate = 1.0\n[compression]\nk = 64\n")
        decide(coordinator, "amend", str(recipe), "--from-round", str(before + 3))
        decide(coordinator, "open")
        swarm.wait_for_round(before + 4, 120)
        assert len(set(swarm.states(before + 4).values())) == 1
        address = (volunteer.status() or {})["addresses"][0]
        decide(coordinator, "bootstrap", address)
        for node in swarm.nodes:  # which both run
            swarm.wait(lambda log=node.log: f"peers are found at {address}" in log.read_text(), 60, "the new address")  # type: ignore[misc]
        steps = {commit.round: {claim.steps for _, claim in commit.contributions()} for commit in commits(volunteer, before + 1)}
        assert any(most > 40 for round in (before + 1, before + 2) for most in steps[round])
        assert all(most <= 40 for round in (before + 3, before + 4) for most in steps[round])
        for node in swarm.nodes:
            node.interrupt()
            node.wait()
        run("verify", "--home", str(volunteer.home))  # replays from the seed, over the change of recipe
