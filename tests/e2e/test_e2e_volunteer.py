"""A volunteer who was invited: nobody else gets in with that invite; in the background, paused and resumed with nothing lost,
started again, and gone with its work handed in."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from e2e.kit import LOGS, commits, fails, head, peer_id, resting, wait_for_contribution, with_clock, write_event

from collab.node.control.socket import NotRunning, call
from collab.node.home import Home
from collab.node.local_swarm import COMMAND, LocalNode, LocalSwarm, environment, run
from collab.protocol.invite import Invite

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Guest:
    """A volunteer in the background, the `invite` that let it in, for one node, and the `swarm` that it is in."""

    swarm: LocalSwarm
    home: Path
    invite: str

    @property
    def node(self) -> LocalNode:
        return LocalNode("guest", self.home)

    def run(self, *arguments: object) -> str:
        return run(*map(str, arguments), "--home", str(self.home))


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """In an event by invitation whose coordinator trains; its clock is wrong."""
    folder = tmp_path_factory.mktemp("invited")
    swarm, home, pid = LocalSwarm(folder, common=LOGS), folder / "guest", None
    # Rounds of about half a second: with those of a fast lone coordinator nobody else could keep up.
    swarm.create(write_event(folder / "event.toml", inner={"steps": 200}), "--invited")
    try:
        swarm.seed()
        invite = run("event", "invite", "--uses", "1", "--expires", "1d", "--home", str(swarm.coordinator.home)).strip()
        made = Guest(swarm, home, invite)
        join = [*with_clock(folder / "clock", -600.0), *COMMAND, "join", invite, "--host", "127.0.0.1", "--detach", *LOGS]
        done = subprocess.run([*join, "--home", str(home)], capture_output=True, text=True, env=environment(), check=True)
        assert "in the background as process" in done.stdout
        pid = int(Home(home).lock_path.read_text())
        yield made
    finally:
        if pid is not None and psutil.pid_exists(pid):
            psutil.Process(pid).kill()
        swarm.stop()


def worker_runs(pid: int) -> bool:
    return any("collab.node.trainer" in " ".join(child.cmdline()) for child in psutil.Process(pid).children())


def round_of(home: Path) -> int:
    return int(call(home, "status")["round"])


def test_only_who_has_the_token_gets_in(guest: Guest, tmp_path: Path) -> None:
    swarm, home = guest.swarm, str(guest.swarm.coordinator.home)
    wait_for_contribution(swarm, guest.node)
    warning = "this clock is 10 min 00 s behind the peers': others cannot find this node; set it: "
    assert guest.node.ask("status")["warning"].startswith(warning)
    with resting([*swarm.nodes, guest.node]):
        refuse_others(guest, home, str(tmp_path / "uninvited"))
    swarm.wait_for_round(head(swarm) + 1, 120)


def refuse_others(guest: Guest, home: str, uninvited: str) -> None:
    leaked = run("event", "invite", "--note", "leaked", "--home", home).strip()
    revoked = next(one["id"] for one in invites(home) if one["note"] == "leaked")
    assert "is revoked" in run("event", "revoke", revoked, "--home", home)
    ticket = Invite.parse(guest.invite)
    wrong = Invite(event=ticket.event, bootstrap=ticket.bootstrap, token=bytes(32)).text()
    for line, problem in (
        (wrong, "this event is by invitation, and the invite has no valid token"),
        (guest.invite, "this invite was for 1 node, which is in already"),
        (leaked, "this invite was revoked by the coordinator"),
    ):
        code, said = fails("join", line, "--host", "127.0.0.1", "--home", uninvited, *LOGS)
        assert said.startswith(f"error: {problem}")
        assert code == 3
        assert len(said.splitlines()) == 2
    assert [one["used"] for one in invites(home)] == [1, 0]


def invites(home: str) -> list[dict[str, Any]]:
    """What `event invites` lists, by note."""
    found = json.loads(run("event", "invites", "--json", "--home", home))["invites"]
    return sorted(found, key=lambda one: str(one["note"]))


def test_a_day_in_the_background(guest: Guest) -> None:
    swarm, home, me = guest.swarm, guest.home, peer_id(guest.node)
    pid = int(Home(home).lock_path.read_text())
    wait_for_contribution(swarm, guest.node)

    assert "paused: a film" in guest.run("pause", "--reason", "a film")
    assert not worker_runs(pid)
    assert json.loads(guest.run("status", "--json"))["paused"] == "a film"
    paused_at = round_of(home)
    swarm.wait(lambda: round_of(home) > paused_at, 60, "the paused node to follow the history")
    swarm.wait(lambda: me not in {member.peer for member in commits(swarm.coordinator)[-1].roster}, 60, "the roster without it")

    guest.run("resume")
    wait_for_contribution(swarm, guest.node)

    guest.run("set", "calm_seconds", 0)
    guest.run("set", "hours", not_now())
    assert str(call(home, "status")["paused"]).startswith("outside of your hours")
    swarm.wait(lambda: not worker_runs(pid), 30, "the worker to end")
    guest.run("set", "hours", "default")
    assert call(home, "status")["paused"] == ""

    guest.run("restart")
    swarm.wait(lambda: str(call_or_nothing(home).get("phase")) == "training", 90, "the node to be back")
    assert int(Home(home).lock_path.read_text()) == pid

    assert "left" in guest.run("leave")
    with pytest.raises(NotRunning):
        call(home, "status")
    lines = [json.loads(line) for line in guest.run("logs", "-n", 2000).splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines].count("goodbye") == 2


def not_now() -> str:
    """A minute of the day, half a day from now."""
    other = (time.localtime().tm_hour + 12) % 24
    return f"{other:02d}:00-{other:02d}:01"


def call_or_nothing(home: Path) -> dict[str, object]:
    try:
        return call(home, "status")
    except NotRunning:
        return {}
