"""Tensors of every awkward shape, and values of every awkward kind, from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

Tensors = dict[str, torch.Tensor]

SHAPES: dict[str, tuple[int, ...]] = {
    "a.empty": (0, 3),
    "b.scalar": (),
    "c.bias": (3,),
    "d.norm": (130,),
    "e.exact": (64, 64),
    "f.tail": (2, 4100),
    "g.one-over": (4097,),
}

KINDS = ("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge", "bits")


def draw(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` float32 values, all finite."""
    tiny = float(np.finfo(np.float32).tiny)
    draws: dict[str, Callable[[], np.ndarray]] = {
        "normal": lambda: rng.standard_normal(count) * 1e-3,
        "heavy": lambda: rng.standard_t(2, count),
        "ties": lambda: rng.integers(-2, 3, count) * 0.5,
        "zeros": lambda: np.where(rng.random(count) < 0.01, 1.0, -0.0),
        "equal": lambda: np.full(count, -0.125),
        "denormal": lambda: rng.standard_normal(count) * tiny / 4,
        "huge": lambda: rng.uniform(-3e38, 3e38, count),
        "bits": lambda: rng.integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32),
    }
    with np.errstate(invalid="ignore"):  # some bit patterns are signalling NaNs
        values = draws[kind]().astype(np.float32)
    return np.where(np.isfinite(values), values, np.float32(0)).astype(np.float32)


@pytest.fixture(scope="session")
def make() -> Callable[..., Tensors]:
    """make(seed, kind="normal", shapes=SHAPES) → named float32 tensors."""

    def make(seed: int, kind: str = "normal", shapes: dict[str, tuple[int, ...]] | None = None) -> Tensors:
        rng = np.random.default_rng(seed)
        chosen = SHAPES if shapes is None else shapes
        return {
            name: torch.from_numpy(draw(kind, int(np.prod(shape)), rng).reshape(shape))
            for name, shape in chosen.items()
        }

    return make
