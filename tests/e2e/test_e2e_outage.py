"""A volunteer whose network goes away: it says that it is alone, keeps its work, and is back by itself with everybody's state.
Then its disk is full: it ends with a line that says so, and is back when there is room.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from command_kit import collab_node
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


@pytest.fixture
def small_disk(networks: tuple[Network, Network], tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a size that a test can fill."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], check=True, capture_output=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


def test_a_lost_network_and_a_full_disk_are_told_and_survived(
    networks: tuple[Network, Network], small_disk: Path, tmp_path: Path
) -> None:
    outside, inside = networks
    swarm = LocalSwarm(tmp_path, common=LOGS)
    # Rounds of about a second: those of a fast machine's lone coordinator come so quickly that they look like a flood.
    swarm.create(write_event(tmp_path / "event.toml", inner={"steps": 400}))
    try:
        swarm.coordinator.prefix = outside.prefix
        swarm.seed(arguments=["--host", SERVER, "--reachability", "public"])
        volunteer = swarm.add()
        volunteer.home = small_disk / "home"
        volunteer.home.mkdir()
        volunteer.log.symlink_to(tmp_path / "volunteer.log")  # what is said on a full disk is to be read
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

        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass
        assert volunteer.wait(60) == 1
        error, hint = volunteer.tail(2).splitlines()
        assert error.startswith("error: ")
        assert "MiB are needed on the disk" in error or "no space left on the disk" in error
        assert hint.startswith("hint: free some")
        filler.unlink()
        assert collab_node("fsck", home=volunteer.home).exit_code == 0
        volunteer.start()
        settle_in(swarm, volunteer)
    finally:
        swarm.stop()


def warning(node: LocalNode) -> str:
    status = node.status()
    return str((status or {}).get("warning", "?"))
