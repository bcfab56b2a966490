"""Sparse bodies: a density a tensor, then a record a chunk, then the chunks' bitmaps.

A chunk of `size` elements keeps ⌈k·size/4096⌉ values, so tails, biases and norms have the density of everything else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import gaps, quantize
from .bits import explode, implode, pack, unpack
from .errors import PayloadError
from .floats import BF16_LARGEST
from .form import Form
from .grid import Grid, Rows
from .quantize import LEAST_HI
from .select import largest

BLOCK_ROWS = 256
"""Chunks worked on at a time: bounds temporaries and keeps them in cache. No output depends on it."""

_PADDING = "a chunk is filled up with nonzero bits"


def encode(grid: Grid, totals: Rows) -> bytes:
    """Encode finite float32 matrices (rows, size) as records and bitmaps, and subtract from them, in place, what was encoded."""
    records: Rows = {}
    bitmaps: Rows = {}
    lengths: Rows = {}
    for form, rows in totals.items():
        blocks = [_encode_block(form, block) for block in torch.split(rows, BLOCK_ROWS)]
        records[form], bitmaps[form], lengths[form] = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return grid.join(records) + b"".join(
        _trim(bitmaps[piece.form][piece.rows], lengths[piece.form][piece.rows]) for piece in grid.pieces if piece.form.has_gaps
    )


def decode(grid: Grid, body: Tensor) -> tuple[Rows, Rows]:
    """Positions (rows, kept) int64 and values (rows, kept) float32 of records and bitmaps (uint8, 1-D). `PayloadError`."""
    size = records_bytes(grid)
    if len(body) < size:
        raise PayloadError(f"a payload's records need {size} bytes, it has {len(body)}")
    records = grid.split(body[:size], lambda form: form.record_bytes)
    bitmaps = body[size:]
    lengths = grid.in_order({form: _bitmap_lengths(form, rows) for form, rows in records.items()})
    if int(lengths.sum()) != len(bitmaps):
        raise PayloadError(f"a payload's bitmaps need {int(lengths.sum())} bytes, it has {len(bitmaps)}")
    starts = grid.by_form(lengths.cumsum(0) - lengths)
    positions: Rows = {}
    values: Rows = {}
    for form, rows in records.items():
        parts = zip(torch.split(rows, BLOCK_ROWS), torch.split(starts[form], BLOCK_ROWS), strict=True)
        blocks = [_decode_block(form, block, _pad(form, block, first, bitmaps)) for block, first in parts]
        positions[form], values[form] = (torch.cat(part) for part in zip(*blocks, strict=True))
    return positions, values


def records_bytes(grid: Grid) -> int:
    """Bytes of all records."""
    return grid.total(lambda form: form.record_bytes)


def _encode_block(form: Form, totals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    positions = largest(totals, form.kept) if form.has_gaps else torch.arange(form.size).expand(len(totals), -1)
    chosen = totals.gather(1, positions)
    hi, lo = quantize.fit(chosen, form)
    codes, negative = quantize.encode(chosen, hi, lo, form.levels)
    totals.scatter_(1, positions, chosen - quantize.decode(hi, lo, form.levels, codes, negative))
    fields = [explode(hi, 16)]
    if form.levels > 1:
        fields.append(explode(lo, 8))
    bitmaps, lengths = torch.zeros((len(totals), 0), dtype=torch.uint8), torch.zeros((len(totals), 1), dtype=torch.int64)
    if form.has_gaps:
        remainders, bitmaps, lengths = gaps.encode(form, positions)
        fields = [explode(lengths - form.least_bitmap, 8), *fields, remainders]
    fields += [negative.to(torch.uint8), explode(codes, form.value_bits - 1)]
    return pack(torch.cat(fields, dim=1)), bitmaps, lengths


def _decode_block(form: Form, records: Tensor, bitmaps: Tensor) -> tuple[Tensor, Tensor]:
    bits = unpack(records)
    _, hi_bits, lo_bits, remainders, signs, code_bits, padding = torch.split(
        bits, [*form.widths, bits.shape[1] - sum(form.widths)], dim=1
    )
    if bool(padding.any()):
        raise PayloadError(_PADDING)
    hi, lo = implode(hi_bits, 16), implode(lo_bits, 8) if form.levels > 1 else torch.zeros((len(records), 1), dtype=torch.int64)
    codes = implode(code_bits, form.value_bits - 1) if form.levels > 1 else torch.zeros_like(signs).long()
    if bool(((hi != 0) & ((hi < LEAST_HI) | (hi > BF16_LARGEST))).any()):
        raise PayloadError("a chunk's scale is not zero, nor positive, finite and large enough")
    if bool(((hi == 0) & ((lo > 0) | (codes > 0))).any()):
        raise PayloadError("a chunk of zeros has levels")
    if bool((quantize.level_is_zero(hi, lo, form.levels, codes) & (signs > 0)).any()):
        raise PayloadError("a chunk gives a sign to a zero")
    values = quantize.decode(hi, lo, form.levels, codes, signs > 0)
    if not form.has_gaps:
        return torch.arange(form.size).expand(len(records), -1), values
    return gaps.decode(form, remainders, bitmaps), values


def _bitmap_lengths(form: Form, records: Tensor) -> Tensor:
    """Bytes of each chunk's bitmap, (rows, 1) int64."""
    if not form.has_gaps:
        return torch.zeros((len(records), 1), dtype=torch.int64)
    lengths = records[:, :1].to(torch.int64) + form.least_bitmap
    if bool((lengths > form.most_bitmap).any()):
        raise PayloadError("a chunk's bitmap is longer than its gaps can be")
    return lengths


def _trim(bitmaps: Tensor, lengths: Tensor) -> bytes:
    """Each row's first bytes, as many as its length says, one row after the other."""
    return bytes(bitmaps[torch.arange(bitmaps.shape[1]) < lengths].numpy().tobytes())


def _pad(form: Form, records: Tensor, starts: Tensor, bitmaps: Tensor) -> Tensor:
    """The inverse of `_trim`: (rows, most_bitmap), filled up with zeros. `PayloadError` if one ends with a zero byte."""
    if not form.has_gaps:
        return torch.zeros((len(records), 0), dtype=torch.uint8)
    lengths, columns = _bitmap_lengths(form, records), torch.arange(form.most_bitmap)
    inside = columns < lengths
    rows = torch.where(inside, bitmaps[torch.where(inside, starts + columns, starts)], 0)
    if bool((rows.gather(1, lengths - 1) == 0).any()):
        raise PayloadError("a chunk's bitmap ends with a byte of zeros")
    return rows
