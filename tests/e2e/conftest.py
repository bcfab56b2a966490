"""One swarm of four real nodes for all tests here that leave it as they found it."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from e2e.kit import head, roster, swarm_of

from collab.node.failpoints import VARIABLE
from collab.node.local_swarm import LocalSwarm

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # hivemind's import uses what torch deprecates
    import hivemind  # noqa: F401


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a swarm of their own come first, while the common one is not there to take their cores."""
    items.sort(key=lambda item: "swarm" in getattr(item, "fixturenames", ()))


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
        made.wait_for_round(head(made) + 1, 120)  # decided by all of them: so nothing is with the coordinator alone
        yield made
