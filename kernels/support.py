"""Non-negative values (a Fisher diagonal) on the coordinates of another payload: 4 or 8 bits each.

The coordinates are not sent again: they are those of the patch, in its order. A chunk has a scale, its largest value as
bf16, and for every coordinate a code c of b bits, which means scale · (c / (2^b − 1))². Steps are even in the square
root because a Fisher value is a mean squared gradient: four bits reach from 1 down to 1/225 of the scale.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .bits import explode, implode, pack, unpack
from .errors import PayloadError
from .floats import bf16_from_keys, bf16_valid, float_from_bf16, magnitude_keys
from .sparse import BLOCK_ROWS


def encode_rows(values: Tensor, bits: int) -> Tensor:
    """Finite, non-negative float32 (rows, entries) → uint8 (rows, stride)."""
    return torch.cat([_encode_block(block, bits) for block in torch.split(values, BLOCK_ROWS)])


def decode_rows(rows: Tensor, entries: int, bits: int) -> Tensor:
    """uint8 (rows, stride) → float32 (rows, entries), finite and non-negative. `PayloadError`."""
    return torch.cat([_decode_block(block, entries, bits) for block in torch.split(rows, BLOCK_ROWS)])


def _encode_block(values: Tensor, bits: int) -> Tensor:
    steps = (1 << bits) - 1
    scales = bf16_from_keys(magnitude_keys(values).amax(dim=1, keepdim=True))
    # float64, so that values / scale neither overflows nor loses what decides the rounding; an empty scale divides by 1.
    divisors = torch.where(scales > 0, float_from_bf16(scales).double(), 1.0)
    codes = (torch.sqrt(values.double() / divisors) * steps).round().clamp(max=steps).to(torch.int64)
    codes = torch.where(scales > 0, codes, 0)
    return pack(torch.cat((explode(scales, 16), explode(codes, bits)), dim=1))


def _decode_block(rows: Tensor, entries: int, bits: int) -> Tensor:
    field = unpack(rows)
    scales = implode(field[:, :16], 16)
    codes = implode(field[:, 16 : 16 + entries * bits], bits)
    if bool(field[:, 16 + entries * bits :].any()):
        raise PayloadError("a chunk is filled up with nonzero bits")
    if not bf16_valid(scales):
        raise PayloadError("a chunk's scale is not finite, normal and non-negative")
    if bool(((scales == 0) & (codes > 0)).any()):
        raise PayloadError("a chunk of zeros has nonzero codes")
    steps = (1 << bits) - 1
    squares = torch.arange(steps + 1, dtype=torch.float32).square()
    shares = squares / squares[-1:].expand_as(squares)  # divided elementwise: some backends multiply by 1/scalar
    return float_from_bf16(scales) * shares[codes]
