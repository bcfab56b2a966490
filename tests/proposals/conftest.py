"""A small real history with proposals, made once by the commands themselves; each test has a copy."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from command_kit import Run, collab_node, live_in
from history_integrity.samples import Sample, make_sample
from safetensors.torch import load_file, save_file
from worker_kit import workers_in_threads

from collab.protocol.event import Data

sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # where the sample's history is made

__all__ = ["Proposing", "Run", "runner", "trained"]


@dataclass(frozen=True)
class Proposing:
    """A home in which three proposals were made, one as it was before, and what they were made from.

    `first` and `third` are on round 5, `second` is on round 3; `file` carries the third.
    """

    sample: Sample
    before: Path
    first: str
    second: str
    third: str
    file: Path
    base: Path
    checkpoint: Path


def runner(sample: Sample, home: Path, patch: pytest.MonkeyPatch) -> Run:
    """Run `collab-node` with these arguments in this process, in `home`."""
    live_in(patch, home, data=sample.data, cache=sample.home.path.parent / "cache")
    return collab_node


@pytest.fixture(autouse=True)
def _quick_worker(worker_in_thread: None) -> None:
    """Commands run in this process have their worker in a thread."""


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Proposing:
    folder = tmp_path_factory.mktemp("proposing")
    data = Data(source="text", path="text.txt", block=16, held_out=0.5, held_out_samples=8)
    sample = make_sample(folder, data=data)
    shutil.copytree(sample.home.path, folder / "before")
    file, base, older = folder / "change.proposal", folder / "round-5.safetensors", folder / "round-3.safetensors"
    with workers_in_threads(), pytest.MonkeyPatch.context() as patch:
        run = runner(sample, sample.home.path, patch)

        def propose(checkpoint: Path, *arguments: object) -> str:
            done = run("propose", checkpoint, "--message", "better matrices", "--json", *arguments)
            assert done.exit_code == 0, done.output
            made = json.loads(done.stdout)
            assert made["form"] == "low-rank"
            assert made["error"] <= 0.02
            return str(made["proposal"])

        for round, out in ((5, base), (3, older)):
            assert run("export", out, "--round", round).exit_code == 0
        first = propose(trained(base, 1), "--samples", 30)
        second = propose(trained(older, 2), "--samples", 10, "--base", "HEAD~2")
        third = propose(trained(base, 3), "--out", file)
    return Proposing(sample, folder / "before", first, second, third, file, base, trained(base, 1))


def trained(base: Path, seed: int) -> Path:
    """A checkpoint: every matrix moved by a product of rank 2."""
    out = base.with_name(f"trained-{seed}.safetensors")
    draws = torch.Generator().manual_seed(seed)
    tensors = load_file(base)
    for name, tensor in tensors.items():
        if tensor.dim() == 2:
            left, right = (torch.randn(size, 2, generator=draws) for size in tensor.shape)
            tensors[name] = tensor + 1e-3 * left @ right.T
    save_file(tensors, out)
    return out


@pytest.fixture
def sample(original: Proposing, tmp_path: Path) -> Sample:
    """A copy of the home with the proposals."""
    shutil.copytree(original.sample.home.path, tmp_path / "home")
    return Sample(tmp_path / "home", original.sample.data)


@pytest.fixture
def run(original: Proposing, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Run:
    return runner(original.sample, sample.home.path, monkeypatch)
