"""The plants live in scripts/, which is no package's folder; the model that they are made from is trained once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "scripts"))

from bench_gates.world import World


@pytest.fixture(autouse=True)
def _quick_worker(worker_in_thread: None) -> None:
    """Commands run in this process have their worker in a thread."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    return World(tmp_path_factory.mktemp("world"))
