"""The merge bench: its splits are what they say, its figures and its measurements of the learner are right."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_merge import figures
from bench_merge.learner import Learner
from bench_merge.runs import run
from bench_merge.scenarios import LEAST, SCENARIOS

from collab.kernels.merge import MODEL_METHODS

LABELS = np.random.default_rng(0).integers(0, 10, 780)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_split_gives_no_sample_twice(name: str) -> None:
    parts = SCENARIOS[name].split(np.random.default_rng(1), LABELS)
    dealt = np.concatenate(parts)
    assert len(set(dealt.tolist())) == len(dealt)
    assert len(LABELS) - LEAST * 3 < len(dealt) <= len(LABELS)
    assert min(map(len, parts)) > 5


def test_disjoint_classes_are() -> None:
    parts = SCENARIOS["disjoint"].split(np.random.default_rng(1), LABELS)
    owned = [set(LABELS[part].tolist()) for part in parts]
    assert sum(map(len, owned)) == len(set.union(*owned)) == 10


def test_fisher_is_the_mean_of_squared_slopes() -> None:
    learner = Learner(0)
    weights, images = learner.weights(), torch.rand(3, 64, generator=torch.Generator().manual_seed(1))
    fisher = learner.fisher(weights, images)
    expected = torch.zeros(10)  # of the last bias: ∂ log p(c) / ∂ b = onehot(c) − p
    for image in images:
        hidden = torch.relu(weights["0.weight"] @ image + weights["0.bias"])
        p = torch.softmax(weights["2.weight"] @ hidden + weights["2.bias"], dim=0)
        expected += p * (1 - p) / 3
    torch.testing.assert_close(fisher["2.bias"], expected)
    assert {name: tensor.shape for name, tensor in fisher.items()} == {name: tensor.shape for name, tensor in weights.items()}


def test_a_run_is_decided_by_its_seed_and_has_every_method() -> None:
    first, second = (run("classes", 0) for _ in range(2))
    assert first == second
    assert list(first) == ["base", "best single", *MODEL_METHODS, "auto"]
    assert all(0 < value <= 100 for value in first.values())
    assert first["auto"] in {first[name] for name in MODEL_METHODS}


def test_the_p_value_counts_sign_patterns() -> None:
    assert figures.p_value([1.0, 2.0, 3.0]) == 2 / 8
    assert figures.p_value([1.0, -1.0]) == 1.0
    assert figures.p_value([0.0, 0.0]) == 1.0


def test_rows_tell_each_scenario() -> None:
    scores = {"a": [{"average": 80.0, "fisher": 82.0}, {"average": 82.0, "fisher": 83.0}], "b": [{"average": 1.0, "fisher": 1.0}]}
    average, fisher = figures.rows(scores, "a")
    assert (average["method"], average["mean"], average["p_value_against_average"]) == ("average", 81.0, 1.0)
    assert (fisher["mean"], fisher["gain_over_average"], fisher["seeds"]) == (82.5, 1.5, 2)
    assert fisher["deviation"] == pytest.approx(0.5**0.5)
    assert fisher["p_value_against_average"] == 0.5
    assert fisher["scenarios"]["b"] == {"mean": 1.0, "deviation": 0.0, "gain_over_average": 0.0, "p_value_against_average": 1.0}


def test_the_command_prints_a_table_and_writes_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = import_module("bench_merge.__main__")
    monkeypatch.setattr(sys, "argv", ["merge", "--quick", "--seeds", "1", "--json", str(tmp_path / "rows.json")])
    assert command.main() == 0
    out = capsys.readouterr().out
    assert "± 0.0" in out
    assert max(map(len, out.splitlines())) <= 80
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {"method", "mean", "deviation", "p_value_against_average"} <= rows[0].keys()
    assert [row["method"] for row in rows][-1] == "auto"
