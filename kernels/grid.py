"""A layout cut into chunks, and the chunks of one form as the rows of one matrix.

Chunks never mix tensors: a tensor of n elements is n // 4096 full chunks and, if n is no multiple of 4096, one tail.
On the wire chunks stand in order of tensor and position. For computing, all chunks of one form are gathered into a
matrix, so that an operation runs once over a few matrices (the full chunks of each density, and one for each size of tail)
instead of once a chunk or a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .form import Form
from .layout import Layout, Tensors
from .pieces import Piece, counted, pieces_of

Rows = dict[Form, Tensor]
"""Form → a tensor whose first dimension counts the chunks of that form."""


@dataclass(frozen=True, eq=False)
class Grid:
    """`pieces` in wire order; `counts`: rows by form; `starts`: each row's first element in its own tensor."""

    layout: Layout
    pieces: tuple[Piece, ...]
    counts: dict[Form, int]
    starts: Rows

    @property
    def chunks(self) -> int:
        return sum(self.counts.values())

    def total(self, of: Callable[[Form], int]) -> int:
        """The sum of `of(form)` over all chunks."""
        return sum(count * of(form) for form, count in self.counts.items())

    def gather(self, tensors: Tensors) -> Rows:
        """Copy every element into the matrices, (rows, size) float32, on the CPU."""
        rows = {form: torch.empty((count, form.size), dtype=torch.float32) for form, count in self.counts.items()}
        for piece in self.pieces:
            flat = tensors[piece.name].detach().reshape(-1)[piece.elements]
            rows[piece.form][piece.rows] = flat.view(piece.chunks, piece.form.size)
        return rows

    def spread(self, rows: Rows, into: dict[str, Tensor]) -> None:
        """The inverse of `gather`, into contiguous tensors."""
        for piece in self.pieces:
            into[piece.name].view(-1)[piece.elements] = rows[piece.form][piece.rows].reshape(-1)

    def concatenate(self, rows: Rows, dtype: torch.dtype) -> dict[str, Tensor]:
        """Per tensor, its chunks' rows one after the other, flattened: any number of entries a chunk."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self.layout.names}
        for piece in self.pieces:
            parts[piece.name].append(rows[piece.form][piece.rows].reshape(-1))
        empty = torch.empty(0, dtype=dtype)
        return {name: torch.cat(part) if part else empty for name, part in parts.items()}

    def in_order(self, rows: Rows) -> Tensor:
        """One number a chunk, (rows, 1) by form, as one vector in wire order."""
        return torch.cat([rows[piece.form][piece.rows, 0] for piece in self.pieces] or [torch.zeros(0, dtype=torch.int64)])

    def by_form(self, numbers: Tensor) -> Rows:
        """The inverse of `in_order`: (rows, 1) int64."""
        rows = {form: torch.empty((count, 1), dtype=torch.int64) for form, count in self.counts.items()}
        at = 0
        for piece in self.pieces:
            rows[piece.form][piece.rows, 0] = numbers[at : at + piece.chunks]
            at += piece.chunks
        return rows

    def join(self, rows: Rows) -> bytes:
        """uint8 matrices (rows, stride) as bytes, in wire order."""
        return b"".join(rows[piece.form][piece.rows].numpy().tobytes() for piece in self.pieces)

    def split(self, body: Tensor, stride: Callable[[Form], int]) -> Rows:
        """The inverse of `join`, of a body (uint8, 1-D) of the right length."""
        rows = {form: torch.empty((count, stride(form)), dtype=torch.uint8) for form, count in self.counts.items()}
        at = 0
        for piece in self.pieces:
            end = at + piece.chunks * stride(piece.form)
            rows[piece.form][piece.rows] = body[at:end].view(piece.chunks, -1)
            at = end
        return rows


@lru_cache(maxsize=8)
def cut(layout: Layout, densities: tuple[int, ...], value_bits: int) -> Grid:
    """The chunks of a layout. An empty tensor has none, a scalar has one of one element."""
    pieces = pieces_of(layout, densities, value_bits)
    starts: dict[Form, list[Tensor]] = {}
    for piece in pieces:
        starts.setdefault(piece.form, []).append(piece.start + torch.arange(piece.chunks) * piece.form.size)
    return Grid(layout, pieces, counted(pieces), {form: torch.cat(parts) for form, parts in starts.items()})
