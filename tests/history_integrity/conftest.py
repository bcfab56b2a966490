"""A small real history, made once, and copies of it to damage."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_kit import Run, collab_node, live_in

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from history_integrity.samples import Sample, make_sample


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return make_sample(tmp_path_factory.mktemp("original"))


@pytest.fixture
def sample(original: Sample, tmp_path: Path) -> Sample:
    """A copy of the history that a test may spoil."""
    shutil.copytree(original.home.path, tmp_path / "home")
    return Sample(tmp_path / "home", original.data)


@pytest.fixture(autouse=True)
def _quick_worker(worker_in_thread: None) -> None:
    """Commands run in this process have their worker in a thread."""


@pytest.fixture
def run_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sample], Run]:
    """Make what runs `collab-node` in this process, in a sample's home."""

    def runner(sample: Sample) -> Run:
        live_in(monkeypatch, sample.home.path, data=sample.data)
        return collab_node

    return runner


@pytest.fixture
def run(run_in: Callable[[Sample], Run], sample: Sample) -> Run:
    """Run `collab-node` with these arguments, in the sample's home."""
    return run_in(sample)
