"""The codec bench: its ways to send lose nothing, and its rounds are the swarm's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bench_codec import settings
from bench_codec.compressors import Compressor, Patch, RawIndices, Sign
from bench_codec.runs import Run, row_of
from bench_codec.settings import EVENTS, RECIPE, RECIPE_NAME, ROUNDS, all_settings

from collab import kernels
from collab.kernels import Codec, Layout
from collab.node.recipe import codec_of


@pytest.mark.parametrize("compressor", [Patch(Codec(decay=1.0)), RawIndices(Codec(decay=1.0)), Sign()])
def test_what_is_sent_and_what_is_left_are_what_there_was(compressor: Compressor) -> None:
    delta, residual = ({"w": torch.randn(5000, generator=torch.Generator().manual_seed(seed))} for seed in (1, 2))
    sent = compressor.send(delta, residual, 0.0)
    update = kernels.decompress(sent.payload, Layout.of(delta))
    torch.testing.assert_close(update["w"] + sent.residual["w"], delta["w"] + residual["w"])


def test_raw_indices_cost_twelve_bits() -> None:
    codec = Codec("sparse", 64, 2)
    delta = {"w": torch.randn(8192, generator=torch.Generator().manual_seed(1))}
    assert RawIndices(codec).send(delta, None, 0.0).bits == 2 * (64 * 14 + 32)


def test_sign_sends_one_magnitude_a_tensor() -> None:
    delta = {"w": torch.tensor([3.0, -1.0, 0.0, 2.0])}
    sent = Sign().send(delta, None, 0.0)
    assert sent.bits == 4 + 16
    assert kernels.decompress(sent.payload, Layout.of(delta))["w"].tolist() == [1.5, -1.5, 1.5, 1.5]


def test_the_recipe_is_the_demo_s() -> None:
    recipe = next(setting for setting in all_settings() if setting.name == RECIPE_NAME)
    assert recipe.compressor == Patch(codec_of(RECIPE.compression))
    assert (recipe.merge, recipe.outer.rate) == (RECIPE.merge.method, RECIPE.outer.rate)
    assert recipe.inner == RECIPE.inner.kind
    event = EVENTS["gpt"](False)
    assert event.rounds == RECIPE.rounds.model_copy(update={"last_round": ROUNDS})
    samples = ROUNDS * 4 * RECIPE.inner.steps * RECIPE.inner.batch
    assert event == RECIPE.model_copy(
        update={"rounds": event.rounds, "inner": RECIPE.inner.model_copy(update={"total_samples": samples})}
    )


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
