"""Sparse bodies: per chunk its levels, its positions, and a sign and a level number for every position.

A chunk of `size` elements keeps ⌈k·size/4096⌉ values, so tails, biases and norms have the density of everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import eliasfano
from .bits import explode, implode, pack, unpack
from .codec import CHUNK
from .errors import PayloadError
from .floats import bf16_valid
from .grid import Grid, Rows
from .quantize import fit, level_count, values_of
from .select import largest

BLOCK_ROWS = 256
"""Chunks worked on at a time: bounds temporaries and keeps them in cache. No output depends on it."""


@dataclass(frozen=True)
class Form:
    """What `k` and the value bits mean for a chunk of any size."""

    k: int
    value_bits: int

    def kept(self, size: int) -> int:
        return -(-self.k * size // CHUNK)

    def bits(self, size: int) -> int:
        """Bits of a chunk before it is filled up to whole bytes."""
        kept = self.kept(size)
        return 16 * level_count(self.value_bits) + eliasfano.width(size, kept) + kept * self.value_bits

    def stride(self, size: int) -> int:
        """Bytes of a chunk."""
        return -(-self.bits(size) // 8)


def encode(grid: Grid, form: Form, totals: Rows) -> bytes:
    """Encode finite float32 matrices (rows, size) as a body, and subtract from them, in place, what was encoded."""
    packed = {size: [_encode_block(form, block) for block in torch.split(rows, BLOCK_ROWS)] for size, rows in totals.items()}
    return grid.body_from_rows({size: torch.cat(blocks) for size, blocks in packed.items()})


def decode(grid: Grid, form: Form, body: Tensor) -> tuple[Rows, Rows]:
    """Positions (rows, kept) int64 and values (rows, kept) float32 of a body of the right length. `PayloadError`."""
    positions: Rows = {}
    values: Rows = {}
    for size, rows in grid.rows_from_body(body, form.stride).items():
        blocks = [_decode_block(form, size, block) for block in torch.split(rows, BLOCK_ROWS)]
        positions[size] = torch.cat([block[0] for block in blocks])
        values[size] = torch.cat([block[1] for block in blocks])
    return positions, values


def _encode_block(form: Form, totals: Tensor) -> Tensor:
    size = totals.shape[1]
    positions = largest(totals, form.kept(size))
    chosen = totals.gather(1, positions)
    levels, codes = fit(chosen, form.value_bits)
    # A value whose level is zero has no sign: otherwise one set of values would have two encodings.
    signs = (chosen < 0) & (levels.to(torch.int64).gather(1, codes) > 0)
    totals.scatter_(1, positions, chosen - values_of(levels, codes, signs))
    fields = [explode(levels, 16), eliasfano.encode(positions, size), signs.to(torch.uint8)]
    if form.value_bits > 1:
        fields.append(explode(codes, form.value_bits - 1))
    return pack(torch.cat(fields, dim=1))


def _decode_block(form: Form, size: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    kept, level_bits = form.kept(size), 16 * level_count(form.value_bits)
    widths = [level_bits, eliasfano.width(size, kept), kept, kept * (form.value_bits - 1)]
    bits = unpack(rows)
    widths.append(bits.shape[1] - sum(widths))
    level_field, position_field, signs, code_field, padding = torch.split(bits, widths, dim=1)
    if bool(padding.any()):
        raise PayloadError("a chunk is filled up with nonzero bits")
    levels = implode(level_field, 16)
    if not bf16_valid(levels) or bool((levels[:, 1:] < levels[:, :-1]).any()):
        raise PayloadError("a chunk's levels are not finite, normal, non-negative and ascending")
    codes = implode(code_field, form.value_bits - 1) if form.value_bits > 1 else torch.zeros_like(signs).long()
    if bool(((levels.gather(1, codes) == 0) & (signs > 0)).any()):
        raise PayloadError("a chunk gives a sign to a zero")
    return eliasfano.decode(position_field, size, kept), values_of(levels, codes, signs)
