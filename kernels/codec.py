"""The parameters of compression that an event's recipe fixes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from .layout import Layout

CHUNK = 4096
"""Elements a chunk. Positions in a chunk fit 12 bits."""

K_STEP = 16
MAX_K = 512
MAX_VALUE_BITS = 8

DENSE = 0
"""The density of a tensor of which every value is kept, in 8 bits; any other density is k / 16."""

Kind = Literal["sparse", "fp16"]


@dataclass(frozen=True)
class Codec:
    """How a patch is compressed.

    `sparse`: the `k` largest of every 4096 values, each as a sign and one of 2^(value_bits-1) levels of its chunk, with
    error feedback (Seide et al. 2014; Stich et al. 2018; chunks as in SparseLoCo, Sarfi et al. 2025). Tensors of fewer than
    `dense_below` elements keep every value, in 8 bits. `tensors` has pairs of a shell pattern and the k (0: dense) of the
    tensors whose name it matches; the first match counts, before everything else.
    `fp16`: every value in two bytes; the other parameters but `decay` are unused.
    `decay` multiplies what earlier rounds left out. Raises `ValueError` on a parameter out of range.
    """

    kind: Kind = "sparse"
    k: int = 128
    value_bits: int = 2
    decay: float = 0.95
    dense_below: int = 0
    tensors: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"codec kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        for k in (self.k, *(k for _, k in self.tensors if k)):
            if not (K_STEP <= k <= MAX_K and k % K_STEP == 0):
                raise ValueError(f"k must be a multiple of {K_STEP} from {K_STEP} to {MAX_K}, not {k}")
        if not 1 <= self.value_bits <= MAX_VALUE_BITS:
            raise ValueError(f"value_bits must be from 1 to {MAX_VALUE_BITS}, not {self.value_bits}")
        if not (math.isfinite(self.decay) and 0 <= self.decay <= 1):
            raise ValueError(f"decay must be between 0 and 1, not {self.decay}")
        if self.dense_below < 0:
            raise ValueError(f"dense_below must not be negative, but is {self.dense_below}")

    def densities(self, layout: Layout) -> tuple[int, ...]:
        """For each tensor, k / 16, or `DENSE`."""
        return tuple(self._k_of(name, math.prod(shape)) // K_STEP for name, shape in layout.tensors)

    def _k_of(self, name: str, elements: int) -> int:
        for pattern, k in self.tensors:
            if fnmatchcase(name, pattern):
                return k
        return 0 if elements < self.dense_below else self.k
