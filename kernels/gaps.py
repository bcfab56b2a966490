"""Ascending positions by their gaps, in Golomb–Rice code: within 3% of the least number of bits if positions are uniform.

A gap is the number of elements left out before a position. Its low r bits stand in the chunk's record, its quotient in unary
in the chunk's bitmap: bit (sum of quotients up to i) + i is set for the i-th position. So every position is found by
selecting a bit and by a prefix sum of remainders, without a loop over gaps, and positions ascend whatever the bits say.
One set of positions has one encoding (Golomb 1966, Rice & Plaunt 1971). On pseudo-gradients of real training the positions were
as good as uniform: another r for each chunk saved nothing, nor did zstd (docs/RECIPES.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .bits import explode, implode, pack, unpack
from .errors import PayloadError
from .form import Form


def encode(form: Form, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions (rows, kept) int64, ascending, below `form.size` → remainder bits, bitmaps as bytes (rows, form.most_bitmap), and
    the bytes of each that are used (rows, 1)."""
    before = torch.cat((torch.full_like(positions[:, :1], -1), positions[:, :-1]), dim=1)
    gaps = positions - before - 1
    places = (gaps >> form.remainder).cumsum(dim=1) + torch.arange(form.kept)
    bits = torch.zeros((len(positions), 8 * form.most_bitmap), dtype=torch.uint8).scatter_(1, places, 1)
    remainders = explode(gaps & ((1 << form.remainder) - 1), form.remainder)
    return remainders, pack(bits), (places[:, -1:] >> 3) + 1


def decode(form: Form, remainders: Tensor, bitmaps: Tensor) -> Tensor:
    """The inverse, of bitmaps filled up with zeros: positions (rows, kept) int64. `PayloadError` on what nobody encodes."""
    bits = unpack(bitmaps)
    if bool((bits.sum(dim=1) != form.kept).any()):
        raise PayloadError("a chunk marks more or fewer positions than it has values")
    order = torch.arange(form.kept)
    quotients = bits.nonzero()[:, 1].view(-1, form.kept) - order
    positions = (quotients << form.remainder) + order
    if form.remainder:
        positions += implode(remainders, form.remainder).cumsum(dim=1)
    if bool((positions[:, -1] >= form.size).any()):
        raise PayloadError("a chunk's positions lie beyond its end")
    return positions
