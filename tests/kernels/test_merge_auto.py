"""Auto keeps the best and says why."""

from __future__ import annotations

import math

import pytest
import torch

from collab.kernels import Tensors
from collab.kernels.merge import Update, merge_models, model_method
from collab.kernels.merge.auto import auto, candidates
from collab.kernels.merge.models import MODEL_METHODS

BASE: Tensors = {"w": torch.zeros(2, 2)}
UPDATES = [Update.of_model(BASE, {"w": torch.tensor(rows)}) for rows in ([[1.0, 0.0], [2.0, 0.0]], [[0.0, 3.0], [2.0, 0.0]])]


def near(target: Tensors) -> float:
    return -float((target["w"] - torch.tensor([[1.0, 3.0], [2.0, 0.0]])).norm())


def test_the_best_is_kept_with_every_score() -> None:
    weights, choice = auto(candidates(BASE, UPDATES), near)
    scores = dict(choice.scores)
    assert choice.winner == max(scores, key=scores.__getitem__)
    expected = merge_models(model_method(choice.winner), BASE, UPDATES)
    assert torch.equal(weights["w"], expected["w"])
    assert near(weights) == scores[choice.winner]
    assert set(scores) | {name for name, _ in choice.skipped} == set(MODEL_METHODS)


def test_what_lacks_statistics_is_skipped_with_its_reason() -> None:
    _, choice = auto(candidates(BASE, UPDATES), near)
    assert choice.skipped == (
        ("fisher", "fisher needs a Fisher diagonal of every model"),
        ("regmean", "regmean needs Gram matrices of every model"),
    )


def test_methods_can_be_given_and_the_first_of_equals_wins() -> None:
    methods = {"a": model_method("ties", density=1.0), "b": model_method("ties", density=1.0), "c": model_method("average")}
    _, choice = auto(candidates(BASE, UPDATES, methods), near)
    assert choice.winner == "a"
    assert [name for name, _ in choice.scores] == ["a", "b", "c"]


def test_a_score_that_is_no_number_never_wins() -> None:
    scores = iter((math.nan, 1.0))
    methods = {"a": model_method("average"), "b": model_method("slerp")}
    _, choice = auto(candidates(BASE, UPDATES, methods), lambda weights: next(scores))
    assert choice.winner == "b"
    assert choice.skipped == (("a", "its score is not a number"),)
    with pytest.raises(ValueError, match="no merged model"):
        auto(candidates(BASE, UPDATES), lambda weights: math.nan)
