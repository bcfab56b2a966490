"""What coordinators decide while an event runs: it reaches every node, counts in every replay, and ends where they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e.kit import (
    LOGS,
    STEPS,
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

from collab.node.local_swarm import LocalNode, LocalSwarm, run

pytestmark = pytest.mark.e2e


def decide(swarm: LocalSwarm, *arguments: str) -> str:
    """Run one of the commands of `event` in the coordinator's home."""
    with resting(swarm.nodes):
        return run("event", *arguments, "--home", str(swarm.coordinator.home))


def known(node: LocalNode) -> list[int]:
    """The numbers of the amendments in a node's store, which outlives it."""
    return [int(each["number"]) for each in json.loads(run("event", "amendments", "--json", "--home", str(node.home)))]


def test_what_coordinators_decide_reaches_everybody_and_counts_in_every_replay(tmp_path: Path) -> None:
    with swarm_of(tmp_path, 2, rounds={"last_round": 200}) as swarm:
        coordinator, honest, cheat = swarm.nodes
        wait_for_contribution(swarm, cheat, 120)

        said = decide(swarm, "announce", "the data moves on Sunday")
        assert said.startswith("amendment 1: announced")
        swarm.wait(lambda: (honest.status() or {}).get("announcements") == ["the data moves on Sunday"], 30, "the sentence")
        banned = ban(swarm, cheat)
        swarm.nodes.remove(cheat)
        decide(swarm, "extend", "--last-round", "900")
        swarm.wait(lambda: (honest.status() or {}).get("decided") == "the event ends after round 900", 30, "the extension")
        since = head(swarm)
        swarm.wait_for_round(since + 2, 90)
        newest = commits(coordinator)
        assert not any(banned in contributors(commit) for commit in newest[since + 1 :])
        assert newest[-1].amendment is not None
        assert banned not in {member.peer for member in newest[-1].roster}

        pause_offline(swarm, honest)
        before = head(swarm)
        new_recipe(swarm, honest, before, tmp_path / "recipe.toml")
        address = honest.ask("status")["addresses"][0]
        decide(swarm, "bootstrap", address)
        for node in swarm.nodes:  # which all run
            swarm.wait(lambda log=node.log: f"peers are found at {address}" in log.read_text(), 60, "the new address")  # type: ignore[misc]
        assert known(honest) == known(coordinator) == [1, 2, 3, 4, 5, 6, 7]

        # Somebody who comes now replays all of it, and knows what was decided.
        (late,) = swarm.join()
        settle_in(swarm, late)
        last = head(swarm)
        swarm.wait_for_round(last, 90)
        assert len(set(swarm.states(last).values())) == 1
        assert known(late) == [1, 2, 3, 4, 5, 6, 7]
        assert metric(late, "collab_head_round") >= last

        said = decide(swarm, "close")
        end = int(said.rsplit(" ", 1)[1])
        for node in (honest, late):
            assert node.wait(120) == 0
        swarm.wait_for_round(end, 60, [coordinator])
        assert [commits(node)[-1].round for node in swarm.nodes] == [end] * 3
        assert len({commits(node)[-1].digest for node in swarm.nodes}) == 1

        # Who comes now gets the model, and is told.
        home = tmp_path / "too late"
        code, said = fails("join", swarm.invite(), "--host", "127.0.0.1", "--home", str(home), *LOGS)
        assert code == 3
        assert said.splitlines() == [
            f"error: this event is closed: round {end} was its last",
            "hint: `collab-node export` saves the model that it made",
        ]
        assert commits(LocalNode("too late", home))[-1].digest == commits(coordinator)[-1].digest

        # A fresh process checks every rule again, from the seed on and over the change of recipe, from what one store holds.
        run("verify", "--home", str(late.home))
        run("verify", "--home", str(honest.home))


def ban(swarm: LocalSwarm, cheat: LocalNode) -> str:
    """It ends with a sentence; return its peer id."""
    banned = peer_id(cheat)
    said = decide(swarm, "ban", banned[-8:], "--reason", "sent noise")
    assert f"revert --contributor {banned}" in said
    assert cheat.wait(60) == 3
    assert "error: the coordinators banned this node's key: sent noise" in cheat.log.read_text()
    return banned


def pause_offline(swarm: LocalSwarm, volunteer: LocalNode) -> None:
    """What was decided while the coordinator's node was stopped is heard of when it starts."""
    coordinator = swarm.coordinator
    coordinator.interrupt()
    assert coordinator.wait() == 0
    assert "the swarm hears of it when one starts" in decide(swarm, "pause", "--reason", "the data moves")
    coordinator.start()
    swarm.wait(lambda: (volunteer.status() or {}).get("pauser") == "coordinators", 90, "the volunteer to rest")
    assert volunteer.ask("status")["paused"] == "the coordinators paused the event: the data moves"


def new_recipe(swarm: LocalSwarm, volunteer: LocalNode, before: int, recipe: Path) -> None:
    """From two rounds after the pause on, which ended with round `before`, everybody trains half as much."""
    recipe.write_text(f"[inner]\nsteps = {STEPS // 2}\n[outer]\nrate = 1.0\n[compression]\nk = 64\n")
    decide(swarm, "amend", str(recipe), "--from-round", str(before + 3))
    decide(swarm, "open")
    swarm.wait_for_round(before + 4, 120)
    assert len(set(swarm.states(before + 4).values())) == 1
    steps = {commit.round: {claim.steps for _, claim in commit.contributions()} for commit in commits(volunteer, before + 1)}
    assert any(most > STEPS // 2 for round in (before + 1, before + 2) for most in steps[round])
    assert all(most <= STEPS // 2 for round in (before + 3, before + 4) for most in steps[round])
