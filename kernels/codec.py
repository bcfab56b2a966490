"""The parameters of compression that an event's recipe fixes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

CHUNK = 4096
"""Elements a chunk. Positions in a chunk fit 12 bits."""

MAX_K = 1024
K_STEP = 32
"""`k` is a multiple of this, so that a full chunk's fields end on whole bytes."""

VALUE_BITS = (1, 2, 3, 4)

Kind = Literal["sparse", "fp16"]


@dataclass(frozen=True)
class Codec:
    """How a patch is compressed.

    `sparse`: the `k` largest of every 4096 values, each as a sign and one of 2^(value_bits-1) levels of its chunk, with
    error feedback (Seide et al. 2014; Stich et al. 2018; chunks as in SparseLoCo, Sarfi et al. 2025).
    `fp16`: every value in two bytes; `k` and `value_bits` are unused.
    `decay` multiplies what earlier rounds left out. Raises `ValueError` on a parameter out of range.
    """

    kind: Kind = "sparse"
    k: int = 128
    value_bits: int = 2
    chunk: int = CHUNK
    decay: float = 0.95

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"codec kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        if self.chunk != CHUNK:
            raise ValueError(f"chunk must be {CHUNK} in this version, not {self.chunk}")
        if self.kind == "sparse" and not valid_k(self.k):
            raise ValueError(f"k must be a multiple of {K_STEP} from {K_STEP} to {MAX_K}, not {self.k}")
        if self.kind == "sparse" and self.value_bits not in VALUE_BITS:
            raise ValueError(f"value_bits must be 1, 2, 3 or 4, not {self.value_bits}")
        if not (math.isfinite(self.decay) and 0 <= self.decay <= 1):
            raise ValueError(f"decay must be between 0 and 1, not {self.decay}")


def valid_k(k: int) -> bool:
    return K_STEP <= k <= MAX_K and k % K_STEP == 0
