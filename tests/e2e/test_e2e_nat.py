"""Volunteers whom nobody can connect to, as behind a home router: two network namespaces, one of them closed from outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import LOGS, commits, contributors, head, peer_id, settle_in, write_event

from collab.node.local_networks import Network, joined, obstacle
from collab.node.local_swarm import LocalSwarm

pytestmark = pytest.mark.e2e
SERVER, VOLUNTEER = "10.201.77.1", "10.201.77.2"


@pytest.fixture
def networks() -> Iterator[tuple[Network, Network]]:
    """One with the address SERVER and one with VOLUNTEER, into which no TCP connection can be opened."""
    if why := obstacle("tc"):
        pytest.skip(why)
    with joined(SERVER, VOLUNTEER) as (outside, inside):
        close_from_outside(outside)
        yield outside, inside


def close_from_outside(network: Network) -> None:
    """Lose every packet that would open a TCP connection (SYN without ACK) on its way out of `network`."""
    namespace, device = network.name, network.device
    call("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "handle", "1:", "htb", "default", "1")
    call("tc", "-n", namespace, "class", "add", "dev", device, "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit")
    call("tc", "-n", namespace, "class", "add", "dev", device, "parent", "1:", "classid", "1:2", "htb", "rate", "8bit")
    call("tc", "-n", namespace, "qdisc", "add", "dev", device, "parent", "1:2", "bfifo", "limit", "1")
    opening = ["u32", "match", "ip", "protocol", "6", "0xff", "match", "u8", "0x02", "0x12", "at", "33"]  # without IP options
    call("tc", "-n", namespace, "filter", "add", "dev", device, "parent", "1:", "protocol", "ip", *opening, "flowid", "1:2")


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def reaches(network: Network, address: str) -> bool:
    """Say whether a TCP connection from `network` to `address` (host/port) gets an answer, be it a refusal."""
    host, port = address.split("/")
    script = f"import socket\ntry: socket.create_connection(({host!r}, {port}), 1)\nexcept ConnectionRefusedError: pass"
    command = [*network.prefix, sys.executable, "-c", script]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.fixture
def outdoors(networks: tuple[Network, Network], tmp_path: Path) -> Iterator[LocalSwarm]:
    """A coordinator that trains, on the side that can be reached."""
    swarm = LocalSwarm(tmp_path, common=LOGS)
    swarm.create(write_event(tmp_path / "event.toml"))
    try:
        swarm.coordinator.prefix = networks[0].prefix
        swarm.seed(arguments=["--host", SERVER, "--reachability", "public"])
        yield swarm
    finally:
        swarm.stop()


def test_volunteers_with_only_outgoing_connections(
    networks: tuple[Network, Network], outdoors: LocalSwarm
) -> None:
    outside, inside = networks
    assert reaches(inside, f"{SERVER}/9")
    assert not reaches(outside, f"{VOLUNTEER}/9")
    for reachability in ("outgoing", "auto"):
        volunteer = outdoors.add()
        volunteer.prefix = inside.prefix
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
