"""A volunteer's day: in the background, paused and resumed with nothing lost, started again, and gone with its work handed in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from e2e.kit import LOGS, commits, contributors, write_event

from collab.node.control.socket import NotRunning, call
from collab.node.home import Home
from collab.node.local_swarm import LocalSwarm, local_swarm

pytestmark = pytest.mark.e2e


def collab_node(home: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "collab.node", *map(str, arguments), "--home", str(home)]
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def worker_runs(pid: int) -> bool:
    return any("collab.node.trainer" in " ".join(child.cmdline()) for child in psutil.Process(pid).children())


def round_of(home: Path) -> int:
    return int(call(home, "status")["round"])


def test_a_day_in_the_background(tmp_path: Path) -> None:
    home = tmp_path / "volunteer"
    with local_swarm(tmp_path / "swarm", write_event(tmp_path / "event.toml"), common=LOGS) as swarm:
        swarm.seed(trains=True)
        said = collab_node(home, "join", swarm.invite(), "--host", "127.0.0.1", "--detach", *LOGS)
        assert "in the background as process" in said
        pid = int(Home(home).lock_path.read_text())
        try:
            _day(swarm, home, pid)
        finally:
            if psutil.pid_exists(pid):
                psutil.Process(pid).kill()


def _day(swarm: LocalSwarm, home: Path, pid: int) -> None:
    me = str(call(home, "status")["peer"])

    def merged(since: int) -> bool:
        return any(me in contributors(commit) for commit in commits(swarm.coordinator, since + 1))

    swarm.wait(lambda: merged(0), 60, "a first contribution")

    assert "paused: a film" in collab_node(home, "pause", "--reason", "a film")
    assert not worker_runs(pid)
    assert json.loads(collab_node(home, "status", "--json"))["paused"] == "a film"
    paused_at = round_of(home)
    swarm.wait(lambda: round_of(home) > paused_at, 60, "the paused node to follow the history")
    assert me not in {member.peer for member in commits(swarm.coordinator)[-1].roster}

    collab_node(home, "resume")
    resumed_at = round_of(swarm.coordinator.home)
    swarm.wait(lambda: merged(resumed_at), 60, "a contribution after the pause")

    collab_node(home, "set", "calm_seconds", 0)
    collab_node(home, "set", "hours", not_now())
    assert str(call(home, "status")["paused"]).startswith("outside of your hours")
    assert not worker_runs(pid)
    collab_node(home, "set", "hours", "default")
    assert call(home, "status")["paused"] == ""

    collab_node(home, "restart")
    swarm.wait(lambda: str(call_or_nothing(home).get("phase")) == "training", 90, "the node to be back")
    assert int(Home(home).lock_path.read_text()) == pid

    assert "left" in collab_node(home, "leave")
    with pytest.raises(NotRunning):
        call(home, "status")
    lines = [json.loads(line) for line in collab_node(home, "logs", "-n", 500).splitlines() if line.startswith("{")]
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
