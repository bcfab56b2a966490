"""A node in the background: which command it is, and what its parent says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collab.node.control.socket import NotRunning
from collab.node.errors import UsageError, UserError
from collab.node.event.joining import read_invite, remembered_invite
from collab.node.home import Home
from collab.node.hosting import background
from collab.node.hosting.background import background_command, go_on_in_background


class Child:
    """A process in place of the node's: it says `text` into its log, and ends with `code` unless that is None."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Home, text: str, code: int | None) -> None:
        self.pid = 4711
        self.code = code
        self.command: list[str] = []
        self.holder = self.pid
        home.prepare()

        def start(command: list[str], *, stdout: Any, **options: Any) -> Child:
            assert options["start_new_session"]
            assert options["stdin"] == subprocess.DEVNULL
            self.command = command
            home.lock_path.write_text(f"{self.holder}\n")
            stdout.write(text.encode())
            return self

        monkeypatch.setattr("collab.node.hosting.background.subprocess.Popen", start)
        monkeypatch.setattr("collab.node.hosting.background.time.sleep", lambda seconds: None)

    def poll(self) -> int | None:
        return self.code


def answers(monkeypatch: pytest.MonkeyPatch, *views: dict[str, Any] | Exception) -> None:
    left = list(views)

    def call(home: Path, request: str, timeout: float) -> dict[str, Any]:
        view = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(view, Exception):
            raise view
        return view

    monkeypatch.setattr(background, "call", call)


def test_the_command_is_the_same_without_its_terminal() -> None:
    command = background_command(["join", "collab1-x", "--detach", "--port", "1"], Path("/h/node.log"))
    assert command == [
        sys.executable, "-m", "collab.node", "join", "collab1-x", "--port", "1", "--display", "plain",
        "--log-file", "/h/node.log",
    ]  # fmt: skip
    seeding = background_command(["seed", "--train", "--detach"], Path("/h/node.log"))
    assert seeding[3:] == ["seed", "--train", "--display", "plain", "--log-file", "/h/node.log"]


def test_the_parent_returns_when_the_node_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, said = Home(tmp_path / "home"), list[str]()
    child = Child(monkeypatch, home, "", None)
    connecting, ready = {"phase": "connecting"}, {"phase": "round", "device": "cpu", "event": "tiny", "round": 3}
    answers(monkeypatch, NotRunning("not yet"), connecting, connecting, ready)
    go_on_in_background(home, said.append, ["join", "--detach"])
    assert child.command[-3:] == ["plain", "--log-file", str(home.log_path.absolute())]
    assert said[0] == "connecting"
    assert "process 4711: tiny, round 4" in said[1]


def test_the_parent_repeats_why_the_node_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    home.log_path.write_text("error: of another day\n")
    Child(monkeypatch, home, "some line\nerror: none of the bootstrap peers answers\nhint: check the connection\n", 1)
    with pytest.raises(UserError) as ended:
        go_on_in_background(home, print, [])
    assert ended.value.lines() == ["error: none of the bootstrap peers answers", "hint: check the connection"]
    Child(monkeypatch, home, "Killed\n", -9)
    with pytest.raises(UserError, match="ended with -9: Killed") as killed:
        go_on_in_background(home, print, [])
    assert killed.value.exit_code == 1


def test_another_nodes_answer_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, said = Home(tmp_path), list[str]()
    Child(monkeypatch, home, "", None).holder = os.getpid()
    monkeypatch.setattr(background, "_PATIENCE_SECONDS", 0.01)
    answers(monkeypatch, {"device": "cpu", "event": "another", "round": 1})
    go_on_in_background(home, said.append, [])
    assert said == ["process 4711 is still at it (starting); `collab-node logs -f` shows how it goes"]


def test_a_second_node_of_a_home_is_refused_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    child = Child(monkeypatch, home, "", None)
    with home.lock(), pytest.raises(UserError, match="runs a node in") as refused:
        go_on_in_background(home, print, [])
    assert "collab-node leave" in refused.value.hint
    assert (child.command, home.log_path.exists()) == ([], False)


def test_who_waits_no_longer_is_told_that_the_node_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    said: list[str] = []
    Child(monkeypatch, Home(tmp_path), "", None)
    monkeypatch.setattr("collab.node.hosting.background.time.sleep", interrupt)
    answers(monkeypatch, NotRunning("not yet"))
    with pytest.raises(KeyboardInterrupt):
        go_on_in_background(Home(tmp_path), said.append, [])
    assert said == ["it goes on in the background as process 4711; `collab-node leave` ends it"]


def test_an_invite_is_remembered_or_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="INVITE is missing"):
        remembered_invite(Home(tmp_path), "")
    with pytest.raises(UserError, match="an invite starts with"):
        read_invite("hello")
