"""One swarm of four real nodes for all tests here that leave it as they found it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import roster, swarm_of

from collab.node.failpoints import VARIABLE
from collab.node.local_swarm import LocalSwarm


@pytest.fixture(scope="session")
def failpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file in which a test names the failpoint and the process that is to be killed there."""
    path = tmp_path_factory.mktemp("failpoints") / "next"
    os.environ[VARIABLE] = str(path)
    yield path
    del os.environ[VARIABLE]


@pytest.fixture(scope="session")
def swarm(tmp_path_factory: pytest.TempPathFactory, failpoints: Path) -> Iterator[LocalSwarm]:
    """Four nodes that train, the coordinator first, all on the roster: three suffice. All run before and after a test."""
    with swarm_of(tmp_path_factory.mktemp("swarm"), 3, rounds={"min_contributors": 3}) as made:
        made.wait(lambda: roster(made.coordinator) == len(made.nodes), 120, "everybody to be on the roster")
        yield made
