"""What a node wants to know about a payload before it lets it near a merge."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import wire
from .canonical import sum_of_squares
from .codec import Kind
from .entry import backend as default_backend
from .layout import Buffer, Layout
from .seam import Backend


@dataclass(frozen=True)
class Inspection:
    """`densities` are those of `Codec.densities` (none for fp16), `value_bits` those of the header; `norm` is the Euclidean norm
    of the decoded patch, summed canonically over its entries, so that every machine clips alike."""

    kind: Kind
    densities: tuple[int, ...]
    value_bits: int
    payload_bytes: int
    nonzeros: int
    norm: float
    bits_per_parameter: float


def inspect(payload: Buffer, layout: Layout, *, backend: Backend | None = None) -> Inspection:
    """Decode the patch completely and describe it. Raises `PayloadError` if it does not decode."""
    entries = (backend or default_backend()).entries(payload, layout)
    header = wire.parse(payload)
    nonzeros, squares = 0, 0.0
    for part in entries.values():
        nonzeros += int(part.values.count_nonzero())
        squares += sum_of_squares(part.values)
    rate = 8 * len(payload) / max(1, layout.numel())
    kind: Kind = "fp16"
    densities: tuple[int, ...] = ()
    if header.kind == wire.Kind.SPARSE:
        kind, densities = "sparse", wire.require_densities(payload, len(layout.tensors))
    return Inspection(kind, densities, header.value_bits, len(payload), nonzeros, math.sqrt(squares), rate)
