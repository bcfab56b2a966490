"""Differences between tensors against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from collab.node.history import compare
from collab.node.history.compare import diff_arrays, diff_files
from collab.node.history.diff import combined


def arrays(seed: int, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    old = random.standard_normal(size).astype(np.float32)
    new = old + np.where(random.random(size) < 0.25, random.standard_normal(size), 0).astype(np.float32)
    return old, new.astype(np.float32)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_diff_is_what_the_definitions_say(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(compare, "_PIECE", piece)
    old, new = arrays(1, 60)
    found = diff_arrays("w", old.reshape(3, 20), new.reshape(3, 20))
    before, after = old.astype(np.float64), new.astype(np.float64)
    assert (found.size, found.changed) == (60, int((old != new).sum()))
    assert found.norm == pytest.approx(np.linalg.norm(after - before))
    assert found.cosine == pytest.approx(before @ after / np.linalg.norm(before) / np.linalg.norm(after))
    assert abs(found.largest) == np.abs(after - before).max()
    assert found.share == found.changed / 60


def test_nothing_and_zeros_have_no_cosine() -> None:
    zeros = np.zeros(4, np.float32)
    for old, new in ((zeros, zeros), (zeros, zeros + 1), (np.zeros(0, np.float32),) * 2):
        assert diff_arrays("w", old, new).cosine is None
    assert diff_arrays("w", zeros, zeros + 1).norm == 2.0
    assert diff_arrays("w", np.array(3.0, np.float32), np.array(-3.0, np.float32)).cosine == -1.0


def test_tensors_come_by_norm_and_the_total_is_that_of_all(tmp_path: Path) -> None:
    pairs = {name: arrays(seed, size) for name, seed, size in (("a", 1, 10), ("b", 2, 500), ("c", 3, 50))}
    pairs["d"] = (pairs["a"][0], pairs["a"][0])
    save_file({name: old for name, (old, _) in pairs.items()}, tmp_path / "old")
    save_file({name: new for name, (_, new) in pairs.items()}, tmp_path / "new")
    found = diff_files(tmp_path / "old", tmp_path / "new")
    assert [each.tensor for each in found] == ["b", "c", "a", "d"]
    assert found[-1].changed == 0
    assert found[-1].cosine == pytest.approx(1.0)
    whole = diff_arrays("total", *(np.concatenate([pair[side] for pair in pairs.values()]) for side in (0, 1)))
    total = combined(found)
    assert (total.size, total.changed, total.largest) == (whole.size, whole.changed, whole.largest)
    assert total.norm == pytest.approx(whole.norm)
    assert total.cosine == pytest.approx(whole.cosine)
