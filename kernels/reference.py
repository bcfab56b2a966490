"""The reference backend: the definition of every byte, in plain torch on the CPU."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import torch
from torch import Tensor

from . import dense, sparse, support, wire
from .codec import Codec
from .errors import NonFiniteError, PayloadError
from .floats import finite, scalar
from .grid import Grid, Rows, cut
from .layout import Buffer, Layout, Tensors
from .seam import Entries
from .sparse import Form
from .wire import Header, Kind

K = TypeVar("K")


class Reference:
    """Vectorised over chunks; takes a few times the memory of the largest group of chunks, never more."""

    name = "reference"

    def compress(
        self, delta: Tensors, residual: Tensors | None, codec: Codec, layout: Layout
    ) -> tuple[bytes, dict[str, Tensor]]:
        grid = cut(layout)
        if codec.kind == "fp16":
            totals = _with_feedback(dict(delta), None if residual is None else dict(residual), codec.decay)
            _refuse_nonfinite(totals)
            body, left = dense.encode(totals, layout)
            return _header(Kind.FP16, 16, 0, grid).pack() + body, left
        before = None if residual is None else grid.gather(residual)
        rows = _with_feedback(grid.gather(delta), before, codec.decay)
        _refuse_nonfinite(rows)
        body = sparse.encode(grid, Form(codec.k, codec.value_bits), rows)
        return _header(Kind.SPARSE, codec.value_bits, codec.k, grid).pack() + body, grid.spread(rows)

    def entries(self, payload: Buffer, layout: Layout) -> dict[str, Entries]:
        header, grid = wire.parse(payload), cut(layout)
        if header.kind == Kind.SUPPORT:
            raise PayloadError("this payload holds values on the support of a patch, it is no patch")
        wire.require(header, _header(header.kind, header.value_bits, header.k, grid))
        if header.kind == Kind.FP16:
            wire.require_length(payload, dense.body_bytes(layout))
            flat = dense.decode(memoryview(payload)[wire.HEADER_BYTES :], layout)
            return {name: Entries(None, values) for name, values in flat.items()}
        positions, values = _decode_sparse(payload, header, grid)
        offsets = {size: grid.starts[size].unsqueeze(1) + rows for size, rows in positions.items()}
        index, by_name = grid.concatenate(offsets, torch.int64), grid.concatenate(values, torch.float32)
        return {name: Entries(index[name], by_name[name]) for name in layout.names}

    def accumulate(self, into: dict[str, Tensor], payload: Buffer, weight: float, layout: Layout) -> None:
        factor = scalar(weight)
        for name, entries in self.entries(payload, layout).items():
            product = factor * entries.values
            entries.put(into[name], entries.gather(into[name]) + product)

    def compress_on_support(self, values: Tensors, support_payload: Buffer, bits: int, layout: Layout) -> bytes:
        grid = cut(layout)
        header = _support_header(support_payload, bits, grid)
        chosen = grid.gather(values)
        if header.k:
            positions, _ = _decode_sparse(support_payload, wire.parse(support_payload), grid)
            chosen = {size: rows.gather(1, positions[size]) for size, rows in chosen.items()}
        else:
            wire.require_length(support_payload, dense.body_bytes(layout))
        _refuse_nonfinite(chosen)
        if any(bool((rows < 0).any()) for rows in chosen.values()):
            raise PayloadError("values on a support (a Fisher diagonal) must not be negative")
        rows = {size: support.encode_rows(entries, bits) for size, entries in chosen.items()}
        return header.pack() + grid.body_from_rows(rows)

    def values_on_support(self, payload: Buffer, support_payload: Buffer, layout: Layout) -> dict[str, Tensor]:
        grid, claimed = cut(layout), wire.parse(payload)
        if claimed.kind != Kind.SUPPORT:
            raise PayloadError("this payload is a patch, it does not hold values on the support of one")
        header = _support_header(support_payload, claimed.value_bits, grid)
        wire.require(claimed, header)

        def entries(size: int) -> int:
            return Form(header.k, 1).kept(size) if header.k else size

        def stride(size: int) -> int:
            return support.stride(entries(size), header.value_bits)

        wire.require_length(payload, grid.body_bytes(stride))
        rows = grid.rows_from_body(_body(payload), stride)
        values = {size: support.decode_rows(part, entries(size), header.value_bits) for size, part in rows.items()}
        return grid.concatenate(values, torch.float32)


def _header(kind: Kind, value_bits: int, k: int, grid: Grid) -> Header:
    return Header(kind, value_bits, k, grid.layout.numel(), grid.chunks, grid.layout.digest())


def _body(payload: Buffer) -> Tensor:
    body = bytearray(memoryview(payload)[wire.HEADER_BYTES :])
    return torch.frombuffer(body, dtype=torch.uint8) if body else torch.empty(0, dtype=torch.uint8)


def _decode_sparse(payload: Buffer, header: Header, grid: Grid) -> tuple[Rows, Rows]:
    form = Form(header.k, header.value_bits)
    wire.require_length(payload, grid.body_bytes(form.stride))
    return sparse.decode(grid, form, _body(payload))


def _support_header(patch: Buffer, bits: int, grid: Grid) -> Header:
    """The header of values on the support of a patch of this layout. Reads no more of the patch than its header."""
    header = wire.parse(patch)
    wire.require(header, _header(header.kind, header.value_bits, header.k, grid))
    if header.kind == Kind.SUPPORT:
        raise PayloadError("a support must be a patch")
    binding = hashlib.sha256(patch).digest()
    return Header(Kind.SUPPORT, bits, header.k, grid.layout.numel(), grid.chunks, binding)


def _with_feedback(delta: dict[K, Tensor], residual: dict[K, Tensor] | None, decay: float) -> dict[K, Tensor]:
    """decay · residual + delta: a product, then a sum. Without a residual the delta itself."""
    if residual is None:
        return delta
    factor = scalar(decay)
    return {key: factor * residual[key] + value for key, value in delta.items()}


def _refuse_nonfinite(tensors: dict[K, Tensor]) -> None:
    if not all(finite(tensor) for tensor in tensors.values()):
        raise NonFiniteError("the tensors to be compressed hold NaN or an infinity")
