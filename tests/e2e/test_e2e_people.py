"""What people meet: an event by invitation, a clock that is wrong, and the mistakes that only real processes can make."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from command_kit import collab_node
from e2e.kit import (
    LOGS,
    commits,
    contributors,
    fails,
    head,
    kill_at,
    peer_id,
    resting,
    settle_in,
    wait_for_contribution,
    with_clock,
    write_event,
)

from collab.node.local_swarm import LocalNode, LocalSwarm, run
from collab.protocol.invite import Invite

pytestmark = pytest.mark.e2e


def test_only_who_has_the_token_gets_into_an_event_by_invitation(tmp_path: Path) -> None:
    swarm = LocalSwarm(tmp_path, common=LOGS)
    swarm.create(write_event(tmp_path / "event.toml", rounds={"min_contributors": 2}), "--invited")
    try:
        swarm.seed()
        home = str(swarm.coordinator.home)
        once = run("event", "invite", "--uses", "1", "--expires", "1d", "--home", home).strip()
        leaked = run("event", "invite", "--note", "leaked", "--home", home).strip()
        guest = swarm.add()
        guest.prefix = with_clock(tmp_path / "clock", -600.0)
        guest.start(["join", once, "--host", "127.0.0.1", *LOGS])
        wait_for_contribution(swarm, guest)
        warning = str((guest.status() or {})["warning"])
        assert warning.startswith("this clock is 10 min 00 s behind the peers': others cannot find this node; set it: ")
        assert peer_id(guest) in contributors(commits(swarm.coordinator)[-1])
        revoked = next(one["id"] for one in invites(home) if one["note"] == "leaked")
        assert "is revoked" in run("event", "revoke", revoked, "--home", home)
        ticket = Invite.parse(once)
        wrong = Invite(event=ticket.event, bootstrap=ticket.bootstrap, token=bytes(32)).text()
        with resting(swarm.nodes):
            for line, problem in (
                (wrong, "this event is by invitation, and the invite has no valid token"),
                (once, "this invite was for 1 node, which is in already"),
                (leaked, "this invite was revoked by the coordinator"),
            ):
                code, said = fails("join", line, "--host", "127.0.0.1", "--home", str(tmp_path / "uninvited"), *LOGS)
                assert said.startswith(f"error: {problem}")
                assert code == 3
                assert len(said.splitlines()) == 2
        assert [one["used"] for one in invites(home)] == [1, 0]
        swarm.wait_for_round(head(swarm) + 1, 120)
    finally:
        swarm.stop()


def invites(home: str) -> list[dict[str, Any]]:
    """What `event invites` lists, by note."""
    found = json.loads(run("event", "invites", "--json", "--home", home))["invites"]
    return sorted(found, key=lambda one: str(one["note"]))


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


def test_the_swarm_outlives_its_coordinator_and_a_newcomer_its_kill(swarm: LocalSwarm, failpoints: Path) -> None:
    coordinator, others = swarm.coordinator, swarm.nodes[1:]
    addresses = [node.ask("status")["addresses"][0] for node in (coordinator, others[0])]
    coordinator.kill()
    flags = [part for address in addresses for part in ("--address", address)]
    invite = run("event", "invite", "--home", str(coordinator.home), *flags).strip()
    (newcomer,) = swarm.join(invite=invite)
    try:
        kill_at(failpoints, newcomer, "adopting", 120)  # while it catches up for the first time
        done = collab_node("fsck", home=newcomer.home)
        assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "no errors")
        newcomer.start()
        settle_in(swarm, newcomer)
        assert len({node.ask("commit", round=head(swarm) - 1)["state"] for node in (*others, newcomer)}) == 1
    finally:
        newcomer.interrupt()
        newcomer.wait()
        swarm.nodes.remove(newcomer)
        coordinator.start()
    settle_in(swarm, coordinator)
