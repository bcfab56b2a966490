"""The merges of two fine-tunes: unlike texts, every method tried, nothing held out is learned. Two steps are trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bench_merge import language
from bench_merge.language import BLOCK, HELD_OUT, TRIED, run_language, texts

from collab.kernels.merge import MODEL_METHODS


def test_the_texts_are_unlike_and_what_is_held_out_is_not_learned() -> None:
    for text in texts():
        held_out = text.held_out()
        assert held_out.inputs.shape == (HELD_OUT, BLOCK)
        learned = text._bytes[: text._learned].tobytes().decode("latin-1")
        assert held_out.inputs[0].numpy().astype(np.uint8).tobytes().decode("latin-1") not in learned


def test_every_method_is_tried_on_both_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "HELD_OUT", 8)
    monkeypatch.setattr(language, "MEASURED", 4)
    losses = run_language(0, base_steps=1, steps=1)
    assert {name for name, _ in TRIED} == set(MODEL_METHODS)
    assert len(losses) == 3 + len(TRIED)
    assert all(0 < loss < 2 * math.log(256) for both in losses.values() for loss in both)
    assert losses["average"] != losses["base"]
