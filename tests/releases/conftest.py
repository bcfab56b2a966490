"""A home whose node is the event's coordinator, and the command line over it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_kit import Run, collab_node
from history.kit import ALICE, World, make_world

from collab.protocol.identity import Identity

sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # histories for tests are made there

CROWD = [Identity(bytes(31) + bytes([number])) for number in range(20, 36)]


@pytest.fixture(autouse=True)
def _quick_worker(worker_in_thread: None) -> None:
    """Commands run in this process have their worker in a thread."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `collab-node` with these arguments in this process; the home is given with `home=`."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return collab_node


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Three rounds: 2 moves a single small tensor; 3, of many contributors, a good part of the weights."""
    made = make_world(tmp_path / "home")
    made.round(ALICE)
    made.round(ALICE, only="norm.weight")
    made.round(*CROWD)
    yield made
    made.store.close()


@pytest.fixture
def do(run: Run, world: World) -> Callable[..., str]:
    """Run a command that must succeed in the world's home, and return its output."""

    def invoke(*words: object, home: Path | None = None) -> str:
        result = run(*words, home=home or world.home.path)
        assert result.exit_code == 0, result.output
        return result.stdout

    return invoke


@pytest.fixture
def told(do: Callable[..., str]) -> Callable[..., dict[str, Any]]:
    """Run a command with `--json`, and return what it printed."""

    def invoke(*words: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(do(*words, "--json"))
        return found

    return invoke


@pytest.fixture
def refuse(run: Run, world: World) -> Callable[..., str]:
    """Run a command that must fail with one line, and a hint at most, and return that line."""

    def invoke(*words: object, home: Path | None = None) -> str:
        result = run(*words, home=home or world.home.path)
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        line, *hint = result.stderr.splitlines()
        assert len(hint) <= 1
        return line

    return invoke
