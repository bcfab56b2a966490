"""One history for the tests that only read it, and the command line over it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_kit import Run, collab_node
from history.kit import ALICE, BOB, CAROL, World, make_world


@pytest.fixture(autouse=True)
def _quick_worker(worker_in_thread: None) -> None:
    """Commands run in this process have their worker in a thread."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Five commits on main, a branch `side` that leaves it at round 2, where the tag v1.0.0 is.

    0 root · 1 Alice, Bob, Carol · 2 Alice, Bob, and Carol refused · 3 Alice, Carol · 4 Alice, on norm.weight alone.
    """
    made = make_world(tmp_path_factory.mktemp("world") / "home")
    made.round(ALICE, BOB, CAROL)
    made.round(ALICE, BOB, rejected=(made.rejection(CAROL),))
    side = made.round(BOB, on=made.head, main=False, seed=50)
    made.store.refs.update("heads/side", side.digest, None)
    made.store.refs.update("tags/v1.0.0", made.head.digest, None)
    made.round(ALICE, CAROL)
    made.round(ALICE, only="norm.weight")
    yield made
    made.store.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run `collab-node` with these arguments in this process; the home is given with `home=`."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return collab_node


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    """A world of two rounds that the test may change."""
    made = make_world(tmp_path / "own")
    made.round(ALICE, BOB)
    made.round(ALICE)
    yield made
    made.store.close()


@pytest.fixture
def lines(run: Run, world: World) -> Callable[..., list[str]]:
    """Run a command that must succeed on the shared world, and return its lines."""

    def invoke(*arguments: object) -> list[str]:
        result = run(*arguments, home=world.home.path)
        assert result.exit_code == 0, result.output
        return result.stdout.splitlines()

    return invoke


@pytest.fixture
def objects(lines: Callable[..., list[str]]) -> Callable[..., list[dict[str, Any]]]:
    """Run a command with `--json` and return the objects that it printed."""

    def invoke(*arguments: object) -> list[dict[str, Any]]:
        return [json.loads(line) for line in lines(*arguments, "--json")]

    return invoke


@pytest.fixture
def failure(run: Run, world: World) -> Callable[..., str]:
    """Run a command that must fail in at most two lines, and return them."""

    def invoke(*arguments: object) -> str:
        result = run(*arguments, home=world.home.path)
        assert result.exit_code in (1, 2)
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) <= 2
        assert result.stderr.startswith("error: ")
        return result.stderr

    return invoke
