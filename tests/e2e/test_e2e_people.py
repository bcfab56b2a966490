"""The mistakes that only people with real processes can make."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from e2e.kit import LOGS, fails, head, resting

from collab.node.local_swarm import LocalNode, LocalSwarm
from collab.protocol.invite import Invite

pytestmark = pytest.mark.e2e


def test_mistakes_that_need_a_running_node(swarm: LocalSwarm, tmp_path: Path) -> None:
    with resting(swarm.nodes):
        make_mistakes(swarm.coordinator, swarm.invite(), tmp_path)
    swarm.wait_for_round(head(swarm) + 1, 120)


def make_mistakes(node: LocalNode, invite: str, tmp_path: Path) -> None:
    code, said = fails("seed", "--host", "127.0.0.1", "--home", str(node.home))
    assert code == 1
    assert f"runs a node in {node.home}" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for flag in ("--port", "--gossip-port"):
            code, said = fails("join", invite, "--host", "127.0.0.1", flag, port, "--home", str(tmp_path / flag), *LOGS)
            assert code == 1
            assert f"127.0.0.1 port {port}: Address already in use" in said
    known = Invite.parse(invite)
    nobody = known.bootstrap[0].split("/tcp/")[0] + "/tcp/1/p2p/" + known.bootstrap[0].rsplit("/", 1)[1]
    lost = Invite(event=known.event, bootstrap=(nobody,)).text()
    code, said = fails("join", lost, "--host", "127.0.0.1", "--home", str(tmp_path / "lost"), *LOGS)
    assert code == 1
    assert "error: none of the bootstrap peers answers" in said
    assert len(said.splitlines()) <= 2
    other = Invite(event=bytes(32), bootstrap=known.bootstrap).text()
    code, said = fails("join", other, "--host", "127.0.0.1", "--home", str(tmp_path / "other"), *LOGS)
    assert code == 1
    assert said.startswith("error: ")
    assert len(said.splitlines()) <= 2
