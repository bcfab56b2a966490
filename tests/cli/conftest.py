"""A home with a small event, and the command line without a process."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_kit import EVENT, Run, collab_node
from store_samples import Chain


@pytest.fixture(autouse=True)
def _quick_worker(worker_in_thread: None) -> None:
    """Commands run in this process have their worker in a thread."""


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def event_file(tmp_path: Path) -> Path:
    path = tmp_path / "sample.toml"
    path.write_text(EVENT)
    return path


@pytest.fixture
def run(home: Path) -> Run:
    """Run `collab-node` with these arguments in this process, in `home`."""
    return collab_node
