"""DARE (Yu et al. 2024): drop most of each update at random, rescale the rest, then task arithmetic.

A value is dropped with probability p = `drop`; what stays is divided by 1 − p, so that the expectation is what it was. The
draw is a function of `seed`, the update's key and the tensor's name (a Philox stream, the same on every machine), not of
the order of the updates or of any global state.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..floats import scalar
from ..layout import Tensors
from .task_arithmetic import TaskArithmetic
from .update import Update, require_number


@dataclass(frozen=True)
class Dare:
    """`drop`: the probability of dropping a value, below 1. `scale`: as in task arithmetic. `seed`: a whole number."""

    drop: float = 0.5
    scale: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("drop", self.drop, 0, 0.999)
        require_number("scale", self.scale, -10, 10)
        require_number("seed", self.seed, 0, 2**53)
        if self.seed != int(self.seed):
            raise ValueError(f"seed must be a whole number, not {self.seed}")

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        thinned = [Update(self._thinned(update), update.weight) for update in updates]
        return TaskArithmetic(self.scale).merge(base, thinned)

    def _thinned(self, update: Update) -> dict[str, Tensor]:
        rescale = scalar(1 / (1 - self.drop))
        kept = {name: self._kept(update.key, name, tensor) for name, tensor in update.delta.items()}
        return {name: torch.where(kept[name], rescale * tensor, 0.0) for name, tensor in update.delta.items()}

    def _kept(self, key: bytes, name: str, tensor: Tensor) -> Tensor:
        """Which values stay: those whose 64-bit draw is at least drop · 2⁶⁴."""
        parts = (struct.pack("<Q", int(self.seed)), key, name.encode())
        digest = hashlib.sha256(b"".join(struct.pack("<I", len(part)) + part for part in parts)).digest()
        draws = np.random.Philox(key=int.from_bytes(digest[:16], "little")).random_raw(tensor.numel())
        return torch.from_numpy(np.asarray(draws >= np.uint64(int(self.drop * 2**64)))).view(tensor.shape)
