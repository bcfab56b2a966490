"""A volunteer whose network goes away: it says that it is alone, keeps its work, and is back by itself with everybody's state.
Then its disk is full: it ends with a line that says so, and is back when there is room.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from command_kit import collab_node
from e2e.kit import LOGS, commits, contributors, head, log_lines, peer_id, settle_in, write_event

from collab.node.local_swarm import LocalNode, LocalSwarm

pytestmark = pytest.mark.e2e
SERVER, VOLUNTEER = "10.201.78.1", "10.201.78.2"


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Names of a namespace with the address SERVER and one with VOLUNTEER, joined by a cable."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2's ip")
    names = tuple(f"collab-{side}-{os.getpid()}" for side in ("a", "b"))
    try:
        for name in names:
            call("ip", "netns", "add", name)
            call("ip", "-n", name, "link", "set", "lo", "up")
        call("ip", "link", "add", "a0", "netns", names[0], "type", "veth", "peer", "name", "b0", "netns", names[1])
        for name, device, address in zip(names, ("a0", "b0"), (SERVER, VOLUNTEER), strict=True):
            call("ip", "-n", name, "address", "add", f"{address}/24", "dev", device)
            call("ip", "-n", name, "link", "set", device, "up")
        yield names[0], names[1]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a size that a test can fill."""
    place = tmp_path / "disk"
    place.mkdir()
    call("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place))
    yield place
    call("umount", "-l", str(place))


def test_a_lost_network_and_a_full_disk_are_told_and_survived(
    namespaces: tuple[str, str], small_disk: Path, tmp_path: Path
) -> None:
    outside, inside = namespaces
    swarm = LocalSwarm(tmp_path, common=LOGS)
    swarm.create(write_event(tmp_path / "event.toml"))
    try:
        swarm.coordinator.prefix = ["ip", "netns", "exec", outside]
        swarm.seed(arguments=["--host", SERVER, "--reachability", "public"])
        volunteer = swarm.add()
        volunteer.home = small_disk / "home"
        volunteer.home.mkdir()
        volunteer.log.symlink_to(tmp_path / "volunteer.log")  # what is said on a full disk is to be read
        volunteer.prefix = ["ip", "netns", "exec", inside]
        volunteer.start(["join", swarm.invite(), "--host", VOLUNTEER, "--reachability", "public", *LOGS])
        settle_in(swarm, volunteer)

        call("ip", "-n", inside, "link", "set", "b0", "down")
        swarm.wait(lambda: warning(volunteer).startswith("alone: no other node"), 60, "the volunteer to say that it is alone")
        before = head(swarm)
        swarm.wait_for_round(before + 1, 90, [swarm.coordinator])
        assert volunteer.alive

        call("ip", "-n", inside, "link", "set", "b0", "up")
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
