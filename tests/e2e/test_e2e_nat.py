"""Volunteers whom nobody can connect to, as behind a home router: two network namespaces, one of them closed from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import LOGS, commits, contributors, head, log_lines, peer_id, settle_in, wait_for_contribution, write_event

from collab.node.local_swarm import LocalNode, LocalSwarm

pytestmark = pytest.mark.e2e
SERVER, VOLUNTEER = "10.201.77.1", "10.201.77.2"


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Names of a namespace with the address SERVER and one with VOLUNTEER, into which no TCP connection can be opened."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("network namespaces need root and iproute2's ip and tc")
    outside, inside = (f"collab-{side}-{os.getpid()}" for side in ("out", "in"))
    try:
        for name in (outside, inside):
            call("ip", "netns", "add", name)
            call("ip", "-n", name, "link", "set", "lo", "up")
        call("ip", "link", "add", "out0", "netns", outside, "type", "veth", "peer", "name", "in0", "netns", inside)
        for name, device, address in ((outside, "out0", SERVER), (inside, "in0", VOLUNTEER)):
            call("ip", "-n", name, "address", "add", f"{address}/24", "dev", device)
            call("ip", "-n", name, "link", "set", device, "up")
        close_from_outside(outside, "out0")
        yield outside, inside
    finally:
        for name in (outside, inside):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def close_from_outside(namespace: str, device: str) -> None:
    """Lose every packet that would open a TCP connection (SYN without ACK) on its way out of `namespace`."""
    call("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "handle", "1:", "htb", "default", "1")
    call("tc", "-n", namespace, "class", "add", "dev", device, "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit")
    call("tc", "-n", namespace, "class", "add", "dev", device, "parent", "1:", "classid", "1:2", "htb", "rate", "8bit")
    call("tc", "-n", namespace, "qdisc", "add", "dev", device, "parent", "1:2", "bfifo", "limit", "1")
    opening = ["u32", "match", "ip", "protocol", "6", "0xff", "match", "u8", "0x02", "0x12", "at", "33"]  # without IP options
    call("tc", "-n", namespace, "filter", "add", "dev", device, "parent", "1:", "protocol", "ip", *opening, "flowid", "1:2")


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def reaches(namespace: str, address: str) -> bool:
    """Say whether a TCP connection from `namespace` to `address` (host/port) gets an answer, be it a refusal."""
    host, port = address.split("/")
    script = f"import socket\ntry: socket.create_connection(({host!r}, {port}), 1)\nexcept ConnectionRefusedError: pass"
    command = ["ip", "netns", "exec", namespace, sys.executable, "-c", script]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def outdoors(namespaces: tuple[str, str], tmp_path: Path) -> Iterator[LocalSwarm]:
    """A coordinator that trains, on the side that can be reached."""
    swarm = LocalSwarm(tmp_path, common=LOGS)
    swarm.create(write_event(tmp_path / "event.toml"))
    try:
        swarm.coordinator.prefix = ["ip", "netns", "exec", namespaces[0]]
        swarm.seed(arguments=["--host", SERVER, "--reachability", "public"])
        yield swarm
    finally:
        swarm.stop()


def test_volunteers_with_only_outgoing_connections_take_part_and_survive_the_loss_of_their_network(
    namespaces: tuple[str, str], outdoors: LocalSwarm
) -> None:
    outside, inside = namespaces
    assert reaches(inside, f"{SERVER}/9")
    assert not reaches(outside, f"{VOLUNTEER}/9")
    told, finds_out = outdoors.add(), outdoors.add()
    for volunteer, reachability in ((told, "outgoing"), (finds_out, "auto")):
        volunteer.prefix = ["ip", "netns", "exec", inside]
        volunteer.start(["join", outdoors.invite(), "--host", "0.0.0.0", "--reachability", reachability, *LOGS])
        settle_in(outdoors, volunteer)
    everyone = {peer_id(node) for node in outdoors.nodes}
    since = head(outdoors)
    outdoors.wait(
        lambda: any(contributors(commit) == everyone for commit in commits(outdoors.coordinator, since + 1)), 60,
        "a commit with something of everybody",
    )  # fmt: skip
    since = head(outdoors)
    outdoors.wait_for_round(since, 60)
    assert len(set(outdoors.states(since).values())) == 1
    finds_out.interrupt()
    assert finds_out.wait() == 0
    outdoors.nodes.remove(finds_out)  # else the other would not be alone in there
    lose_the_network(outdoors, told, inside)


def lose_the_network(swarm: LocalSwarm, volunteer: LocalNode, inside: str) -> None:
    """It says that it is alone, keeps its work, and is back by itself with everybody's state."""
    call("ip", "-n", inside, "link", "set", "in0", "down")
    swarm.wait(lambda: warning(volunteer).startswith("alone: no other node"), 60, "the volunteer to say that it is alone")
    swarm.wait_for_round(head(swarm) + 1, 90, [swarm.coordinator])
    assert volunteer.alive

    call("ip", "-n", inside, "link", "set", "in0", "up")
    swarm.wait(lambda: warning(volunteer) == "", 90, "the volunteer to hear others again")
    wait_for_contribution(swarm, volunteer, 90)
    back = head(swarm)
    swarm.wait_for_round(back, 60)
    assert len(set(swarm.states(back).values())) == 1
    assert [line["event"] for line in log_lines(volunteer)].count("others are heard again") >= 1


def warning(node: LocalNode) -> str:
    return str((node.status() or {}).get("warning", "?"))
