"""Comparing two versions of the weights, read tensor by tensor from two safetensors files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from .diff import TensorDiff, combined

_PIECE = 1 << 20


def diff_files(older: Path, newer: Path) -> list[TensorDiff]:
    """Compare two files with the same tensors, float32; the one that changed most comes first."""
    with safe_open(older, framework="numpy") as old, safe_open(newer, framework="numpy") as new:
        found = [diff_arrays(name, old.get_tensor(name), new.get_tensor(name)) for name in old.keys()]  # noqa: SIM118
    return sorted(found, key=lambda each: (-each.norm, each.tensor))


def diff_arrays(name: str, old: NDArray[np.float32], new: NDArray[np.float32]) -> TensorDiff:
    """Compare two tensors of one shape. Memory is that of a few pieces, beyond the tensors themselves."""
    before, after = old.reshape(-1), new.reshape(-1)
    pieces = [
        _diff_piece(name, before[start : start + _PIECE], after[start : start + _PIECE])
        for start in range(0, max(1, before.size), _PIECE)
    ]
    return combined(pieces, name)


def _diff_piece(name: str, old: NDArray[np.float32], new: NDArray[np.float32]) -> TensorDiff:
    before, after = old.astype(np.float64), new.astype(np.float64)
    change = after - before  # exact where the two are near each other, as they are here
    largest = float(change[np.abs(change).argmax()]) if change.size else 0.0
    return TensorDiff(
        name, before.size, int(np.count_nonzero(change)), largest,
        float(before @ before), float(after @ after), float(before @ after), float(change @ change),
    )  # fmt: skip
