"""A layout cut into chunks, without their numbers: which chunks of which form there are, and where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .codec import CHUNK
from .form import Form
from .layout import Layout


@dataclass(frozen=True)
class Piece:
    """A run of `chunks` chunks of one form: from element `start` of tensor `name`, from row `row` on."""

    name: str
    start: int
    chunks: int
    form: Form
    row: int

    @property
    def elements(self) -> slice:
        return slice(self.start, self.start + self.chunks * self.form.size)

    @property
    def rows(self) -> slice:
        return slice(self.row, self.row + self.chunks)


def pieces_of(layout: Layout, densities: Sequence[int], value_bits: int) -> tuple[Piece, ...]:
    """The pieces of a layout in wire order. An empty tensor has none, a scalar has one of one element."""
    pieces: list[Piece] = []
    rows: dict[Form, int] = {}
    for (name, shape), density in zip(layout.tensors, densities, strict=True):
        full, tail = divmod(math.prod(shape), CHUNK)
        for start, chunks, size in ((0, full, CHUNK), (full * CHUNK, int(tail > 0), tail)):
            if chunks:
                form = Form.of(size, density, value_bits)
                pieces.append(Piece(name, start, chunks, form, rows.get(form, 0)))
                rows[form] = rows.get(form, 0) + chunks
    return tuple(pieces)


def counted(pieces: Sequence[Piece]) -> dict[Form, int]:
    """How many chunks there are of each form."""
    counts: dict[Form, int] = {}
    for piece in pieces:
        counts[piece.form] = counts.get(piece.form, 0) + piece.chunks
    return counts


def chunk_count(layout: Layout) -> int:
    """Chunks of a layout."""
    return sum(-(-math.prod(shape) // CHUNK) for _, shape in layout.tensors)
