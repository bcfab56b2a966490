"""A layout cut into chunks, and the chunks of one size as the rows of one matrix.

Chunks never mix tensors: a tensor of n elements is n // 4096 full chunks and, if n is no multiple of 4096, one tail.
On the wire chunks stand in order of tensor and position. For computing, all chunks of one size are gathered into a
matrix, so that an operation runs once over a few matrices (the full chunks, and one for each size of tail) instead of
once a chunk or a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .codec import CHUNK
from .layout import Layout, Tensors

Rows = dict[int, Tensor]
"""Chunk size → a tensor whose first dimension counts the chunks of that size."""


@dataclass(frozen=True)
class Piece:
    """A run of `chunks` chunks of `size` elements: from element `start` of tensor `name`, from row `row` on."""

    name: str
    start: int
    chunks: int
    size: int
    row: int

    @property
    def elements(self) -> slice:
        return slice(self.start, self.start + self.chunks * self.size)

    @property
    def rows(self) -> slice:
        return slice(self.row, self.row + self.chunks)


@dataclass(frozen=True, eq=False)
class Grid:
    """`pieces` in wire order; `counts`: rows by chunk size; `starts`: each row's first element in its own tensor."""

    layout: Layout
    pieces: tuple[Piece, ...]
    counts: dict[int, int]
    starts: Rows

    @property
    def chunks(self) -> int:
        return sum(self.counts.values())

    def body_bytes(self, stride: Callable[[int], int]) -> int:
        """Bytes of a body whose chunks of size s take stride(s) bytes."""
        return sum(count * stride(size) for size, count in self.counts.items())

    def gather(self, tensors: Tensors) -> Rows:
        """Copy every element into the matrices, (rows, size) float32."""
        rows = {size: torch.empty((count, size), dtype=torch.float32) for size, count in self.counts.items()}
        for piece in self.pieces:
            flat = tensors[piece.name].detach().reshape(-1)[piece.elements]
            rows[piece.size][piece.rows] = flat.view(piece.chunks, piece.size)
        return rows

    def spread(self, rows: Rows) -> dict[str, Tensor]:
        """The inverse of `gather`, into new tensors."""
        flat = {name: torch.empty(math.prod(shape), dtype=torch.float32) for name, shape in self.layout.tensors}
        for piece in self.pieces:
            flat[piece.name][piece.elements] = rows[piece.size][piece.rows].reshape(-1)
        return {name: flat[name].view(shape) for name, shape in self.layout.tensors}

    def concatenate(self, rows: Rows, dtype: torch.dtype) -> dict[str, Tensor]:
        """Per tensor, its chunks' rows one after the other, flattened: any number of entries a chunk."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self.layout.names}
        for piece in self.pieces:
            parts[piece.name].append(rows[piece.size][piece.rows].reshape(-1))
        empty = torch.empty(0, dtype=dtype)
        return {name: torch.cat(part) if part else empty for name, part in parts.items()}

    def body_from_rows(self, rows: Rows) -> bytes:
        """Join uint8 matrices (rows, stride) into a body, in wire order."""
        return b"".join(rows[piece.size][piece.rows].numpy().tobytes() for piece in self.pieces)

    def rows_from_body(self, body: Tensor, stride: Callable[[int], int]) -> Rows:
        """Split a body of the right length (uint8, 1-D) into matrices (rows, stride)."""
        rows = {size: torch.empty((count, stride(size)), dtype=torch.uint8) for size, count in self.counts.items()}
        at = 0
        for piece in self.pieces:
            end = at + piece.chunks * stride(piece.size)
            rows[piece.size][piece.rows] = body[at:end].view(piece.chunks, -1)
            at = end
        return rows


@lru_cache(maxsize=8)
def cut(layout: Layout) -> Grid:
    """The chunks of a layout. An empty tensor has none, a scalar has one of one element."""
    pieces: list[Piece] = []
    counts: dict[int, int] = {}
    starts: dict[int, list[Tensor]] = {}
    for name, shape in layout.tensors:
        full, tail = divmod(math.prod(shape), CHUNK)
        for start, chunks, size in ((0, full, CHUNK), (full * CHUNK, int(tail > 0), tail)):
            if chunks:
                pieces.append(Piece(name, start, chunks, size, counts.get(size, 0)))
                counts[size] = counts.get(size, 0) + chunks
                starts.setdefault(size, []).append(start + torch.arange(chunks) * size)
    return Grid(layout, tuple(pieces), counts, {size: torch.cat(parts) for size, parts in starts.items()})
