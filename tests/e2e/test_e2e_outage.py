"""A volunteer whose network goes away: it says that it is alone, keeps its work, and is back by itself with everybody's state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import LOGS, commits, contributors, head, log_lines, peer_id, settle_in, write_event

from collab.node.local_networks import Network, joined, obstacle
from collab.node.local_swarm import LocalNode, LocalSwarm

pytestmark = pytest.mark.e2e
SERVER, VOLUNTEER = "10.201.78.1", "10.201.78.2"


@pytest.fixture
def networks() -> Iterator[tuple[Network, Network]]:
    if why := obstacle():
        pytest.skip(why)
    with joined(SERVER, VOLUNTEER) as made:
        yield made


def test_a_lost_network_is_told_and_survived(networks: tuple[Network, Network], tmp_path: Path) -> None:
    outside, inside = networks
    swarm = LocalSwarm(tmp_path, common=LOGS)
    swarm.create(write_event(tmp_path / "event.toml"))
    try:
        swarm.coordinator.prefix = outside.prefix
        swarm.seed(arguments=["--host", SERVER, "--reachability", "public"])
        volunteer = swarm.add()
        volunteer.prefix = inside.prefix
        volunteer.start(["join", swarm.invite(), "--host", VOLUNTEER, "--reachability", "public", *LOGS])
        settle_in(swarm, volunteer)

        inside.unplug()
        swarm.wait(lambda: warning(volunteer).startswith("alone: no other node"), 60, "the volunteer to say that it is alone")
        before = head(swarm)
        swarm.wait_for_round(before + 1, 90, [swarm.coordinator])
        assert volunteer.alive

        inside.plug()
        swarm.wait(lambda: warning(volunteer) == "", 90, "the volunteer to hear others again")
        back, me = head(swarm), peer_id(volunteer)
        swarm.wait(
            lambda: any(me in contributors(commit) for commit in commits(swarm.coordinator, back + 1)), 90,
            "a contribution after the outage",
        )  # fmt: skip
        swarm.wait_for_round(back + 1, 60)
        assert len(set(swarm.states(back + 1).values())) == 1
        assert [line["event"] for line in log_lines(volunteer)].count("others are heard again") >= 1
    finally:
        swarm.stop()


def warning(node: LocalNode) -> str:
    status = node.status()
    return str((status or {}).get("warning", "?"))
