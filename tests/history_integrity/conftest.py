"""A small real history, made once, and copies of it to damage."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from collab.node.cli.app import app

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from history_integrity.samples import Sample, make_sample

Run = Callable[..., Result]


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
        monkeypatch.setenv("XDG_CONFIG_HOME", str(sample.home.path / "config"))
        monkeypatch.setenv("COLLAB_HOME", str(sample.home.path))
        monkeypatch.setenv("COLLAB_DATA_DIR", str(sample.data))
        monkeypatch.setenv("COLLAB_CACHE_DIR", str(sample.home.path / "cache"))
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments], prog_name="collab-node")

    return runner


@pytest.fixture
def run(run_in: Callable[[Sample], Run], sample: Sample) -> Run:
    """Run `collab-node` with these arguments, in the sample's home."""
    return run_in(sample)
