"""The codec bench: its ways to send lose nothing, and its rounds are the swarm's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bench_codec import settings
from bench_codec.compressors import Compressor, Patch, RawIndices, Sign
from bench_codec.runs import Run, row_of
from bench_codec.settings import all_settings
from bench_codec.simulation import average, sparse_average

from collab import kernels
from collab.kernels import Codec, Layout
from collab.kernels.merge import Contribution, merge


@pytest.mark.parametrize("compressor", [Patch(Codec(decay=1.0)), RawIndices(Codec(decay=1.0)), Sign()])
def test_what_is_sent_and_what_is_left_are_what_there_was(compressor: Compressor) -> None:
    delta, residual = ({"w": torch.randn(5000, generator=torch.Generator().manual_seed(seed))} for seed in (1, 2))
    sent = compressor.send(delta, residual, 0.0)
    torch.testing.assert_close(sent.update["w"] + sent.residual["w"], delta["w"] + residual["w"])


def test_raw_indices_cost_twelve_bits() -> None:
    codec = Codec("sparse", 64, 2)
    delta = {"w": torch.randn(8192, generator=torch.Generator().manual_seed(1))}
    assert RawIndices(codec).send(delta, None, 0.0).bits == 2 * (64 * 14 + 32)


def test_the_simulated_merge_is_the_real_one() -> None:
    deltas = [{"w": torch.randn(8192, generator=torch.Generator().manual_seed(seed))} for seed in range(4)]
    payloads = [kernels.compress(delta, None, Codec("sparse", 144, 1))[0] for delta in deltas]
    layout = Layout.of(deltas[0])
    updates = [kernels.decompress(payload, layout) for payload in payloads]
    contributions = [Contribution(payload, 0.25) for payload in payloads]
    for simulated, method in ((average, "average"), (sparse_average, "sparse-average")):
        torch.testing.assert_close(simulated(updates), merge(method, layout, contributions, cap=0.5))


def test_settings_have_names_of_their_own() -> None:
    names = [setting.name for setting in all_settings()]
    assert len(set(names)) == len(names)


def test_a_run_is_decided_by_its_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "QUICK_STEPS", 2)
    first, second = (row_of(Run("gpt", "sparse 144, 1 bit", 0, True, tmp_path)) for _ in range(2))
    assert first == second
    assert {"name", "k", "bits", "density_schedule", "bits_per_parameter", "relative_error", "end_loss", "seed"} <= first.keys()


def test_the_masked_model_trains_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "QUICK_STEPS", 4)
    row = row_of(Run("albert", "sparse 144, 1 bit", 0, True, tmp_path))
    assert row["end_loss"] < 5.55  # log 257 at first
