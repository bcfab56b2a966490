"""The command: where it listens, what it refuses, how it ends."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from bench_people.simulated import answering
from dashboard.kit import StoredHome
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.node.dashboard.evaluation import Evaluation
from collab.node.dashboard.local import local_dashboard
from collab.node.dashboard.serve import Serving, is_loopback, serve
from collab.node.dashboard.state import State
from collab.node.errors import UserError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["dashboard", *[str(argument) for argument in arguments]], prog_name="collab-node")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_port_that_is_taken_and_a_host_that_is_not_ours_are_said(stored: StoredHome) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use") as error:
            serve(stored.reader(), Serving(port=port), lambda address: None)
    assert "--port" in error.value.hint
    with pytest.raises(UserError, match=r"cannot listen on 203\.0\.113\.1 port 0: Cannot assign requested address$") as error:
        serve(stored.reader(), Serving(host="203.0.113.1"), lambda address: None)
    assert "--host" in error.value.hint


def test_a_short_token_is_refused(stored: StoredHome) -> None:
    result = run("--home", stored.home.path, "--token", "1234")
    assert result.exit_code == 1
    assert "can be guessed" in result.output


def test_a_name_needs_a_token(stored: StoredHome) -> None:
    result = run("--home", stored.home.path, "--allow-host", "swarm.example")
    assert result.exit_code == 2
    assert "--token" in result.output


def test_an_export_is_written_by_the_command(stored: StoredHome) -> None:
    stored.grow()
    folder = stored.home.path / "page"
    result = run("--home", stored.home.path, "--export", folder)
    assert (result.exit_code, result.output) == (0, f"wrote {folder / 'index.html'}\n")
    assert json.loads((folder / "data.json").read_text())["values"]["totals"]["round"] == 1


def test_it_serves_and_ends_in_order_while_a_page_is_open(stored: StoredHome) -> None:
    stored.grow()
    with local_dashboard(stored.home.path) as dashboard:
        with urllib.request.urlopen(f"{dashboard.url}data.json", timeout=10) as answer:
            assert json.load(answer)["values"]["totals"]["round"] == 1
        stream = urllib.request.urlopen(f"{dashboard.url}events", timeout=10)
        assert stream.readline().startswith(b"id: ")
    assert dashboard.process.returncode == 0
    stream.read()  # it ends, and is not cut off
    stream.close()


@pytest.mark.parametrize(
    ("always", "node", "wanted"),
    [
        (None, {"running": True, "trains": False}, "c"),
        (None, {"running": True, "trains": True}, ""),
        (True, {"running": True, "trains": True}, "c"),
        (True, {"running": False}, ""),
        (None, {}, ""),
    ],
)
def test_who_trains_is_not_held_up_by_measuring(always: bool | None, node: dict[str, Any], wanted: str) -> None:
    state = State({"node": node, "totals": {"commit": "c"}})
    assert Evaluation(Path("nowhere"), always).wanted(state) == wanted


@pytest.mark.parametrize(("trains", "took", "pause"), [(True, 10.0, 190.0), (False, 10.0, 10.0), (False, 0.1, 2.0)])
def test_measuring_leaves_the_worker_most_of_its_time_where_it_trains(trains: bool, took: float, pause: float) -> None:
    evaluation = Evaluation(Path("nowhere"), None)
    evaluation._took = took
    assert evaluation.pause(State({"node": {"trains": trains}})) == pytest.approx(pause)


async def test_the_node_is_asked_and_may_be_gone(stored: StoredHome) -> None:
    asked = 0

    def measured() -> dict[str, float]:
        nonlocal asked
        asked += 1
        return {"loss": 3.0}

    evaluation = Evaluation(stored.reader().control, None)
    await evaluation.measure()
    with answering(stored.home, {"evaluate": measured}):
        await evaluation.measure()
    assert asked == 1
