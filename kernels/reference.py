"""The reference backend: the definition of every byte, in plain torch on the CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from . import dense, sparse, support, wire
from .codec import DENSE, Codec
from .errors import NonFiniteError, PayloadError
from .floats import finite, scalar
from .form import Form
from .grid import Grid, Rows, cut
from .layout import Buffer, Layout, Tensors
from .pieces import chunk_count
from .seam import Entries
from .sizes import dense_bytes, support_stride
from .wire import HEADER_BYTES, Header, Kind

K = TypeVar("K")


class Reference:
    """Vectorised over chunks; takes a few times the memory of the largest group of chunks, never more."""

    name = "reference"

    def compress(
        self, delta: Tensors, residual: Tensors | None, codec: Codec, layout: Layout, out: dict[str, Tensor] | None
    ) -> tuple[bytes, dict[str, Tensor]]:
        left = layout.empty() if out is None else out
        if codec.kind == "fp16":
            totals = _with_feedback(_on_cpu(delta), None if residual is None else _on_cpu(residual), codec.decay)
            _refuse_nonfinite(totals)
            body, remaining = dense.encode(totals, layout)
            for name, tensor in remaining.items():
                left[name].copy_(tensor)
            return wire.seal(bytearray(_header(Kind.FP16, 16, layout).pack() + body)), left
        densities = codec.densities(layout)
        grid = cut(layout, densities, codec.value_bits)
        before = None if residual is None else grid.gather(residual)
        rows = _with_feedback(grid.gather(delta), before, codec.decay)
        _refuse_nonfinite(rows)
        body = sparse.encode(grid, rows)
        grid.spread(rows, left)
        header = _header(Kind.SPARSE, codec.value_bits, layout).pack()
        return wire.seal(bytearray(header + bytes(densities) + body)), left

    def entries(self, payload: Buffer, layout: Layout) -> dict[str, Entries]:
        header = patch_header(payload, layout)
        if header.kind == Kind.FP16:
            wire.require_length(payload, dense_bytes(layout))
            wire.require_checksum(payload)
            flat = dense.decode(memoryview(payload)[HEADER_BYTES:], layout)
            return {name: Entries(None, values) for name, values in flat.items()}
        grid, positions, values = _decode_sparse(payload, header, layout)
        offsets = {form: grid.starts[form].unsqueeze(1) + rows for form, rows in positions.items()}
        index, by_name = grid.concatenate(offsets, torch.int64), grid.concatenate(values, torch.float32)
        return {name: Entries(index[name], by_name[name]) for name in layout.names}

    def accumulate(self, into: dict[str, Tensor], parts: Sequence[tuple[Buffer, float]], layout: Layout) -> None:
        for payload, _ in parts:
            self.entries(payload, layout)
        for payload, weight in parts:
            factor = scalar(weight)
            for name, entries in self.entries(payload, layout).items():
                target = into[name].device
                product = (factor * entries.values).to(target)
                here = Entries(entries.index if entries.index is None else entries.index.to(target), product)
                here.put(into[name], here.gather(into[name]) + product)

    def compress_on_support(self, values: Tensors, support_payload: Buffer, bits: int, layout: Layout) -> bytes:
        header, grid = _support(support_payload, bits, layout)
        chosen = grid.gather(values)
        patch = wire.parse(support_payload)
        if patch.kind == Kind.SPARSE:
            _, positions, _ = _decode_sparse(support_payload, patch, layout)
            chosen = {form: rows.gather(1, positions[form]) for form, rows in chosen.items()}
        _refuse_nonfinite(chosen)
        if any(bool((rows < 0).any()) for rows in chosen.values()):
            raise PayloadError("values on a support (a Fisher diagonal) must not be negative")
        rows = {form: support.encode_rows(entries, bits) for form, entries in chosen.items()}
        return wire.seal(bytearray(header.pack() + grid.join(rows)))

    def values_on_support(self, payload: Buffer, support_payload: Buffer, layout: Layout) -> dict[str, Tensor]:
        claimed = wire.parse(payload)
        if claimed.kind != Kind.SUPPORT:
            raise PayloadError("this payload is a patch, it does not hold values on the support of one")
        header, grid = _support(support_payload, claimed.value_bits, layout)
        wire.require(claimed, header)

        def stride(form: Form) -> int:
            return support_stride(form.kept, header.value_bits)

        wire.require_length(payload, grid.total(stride))
        wire.require_checksum(payload)
        rows = grid.split(_bytes(payload, HEADER_BYTES), stride)
        values = {form: support.decode_rows(part, form.kept, header.value_bits) for form, part in rows.items()}
        return grid.concatenate(values, torch.float32)


def patch_header(payload: Buffer, layout: Layout) -> Header:
    """The header of a patch of this layout. Raises `PayloadError` if it is none."""
    header = wire.parse(payload)
    if header.kind == Kind.SUPPORT:
        raise PayloadError("this payload holds values on the support of a patch, it is no patch")
    wire.require(header, _header(header.kind, header.value_bits, layout))
    return header


def _header(kind: Kind, value_bits: int, layout: Layout) -> Header:
    return Header(kind, value_bits, layout.numel(), chunk_count(layout), layout.digest())


def _bytes(payload: Buffer, start: int) -> Tensor:
    part = bytearray(memoryview(payload)[start:])
    return torch.frombuffer(part, dtype=torch.uint8) if part else torch.empty(0, dtype=torch.uint8)


def _decode_sparse(payload: Buffer, header: Header, layout: Layout) -> tuple[Grid, Rows, Rows]:
    densities = wire.require_densities(payload, len(layout.tensors))
    grid = cut(layout, densities, header.value_bits)
    wire.require_checksum(payload)
    return grid, *sparse.decode(grid, _bytes(payload, HEADER_BYTES + len(densities)))


def _support(patch: Buffer, bits: int, layout: Layout) -> tuple[Header, Grid]:
    """The header of values on the support of a patch, and the patch's chunks. Reads no more than its header and densities."""
    found = patch_header(patch, layout)
    header = Header(Kind.SUPPORT, bits, found.elements, found.chunks, hashlib.sha256(patch).digest())
    if found.kind == Kind.FP16:
        wire.require_length(patch, dense_bytes(layout))
        return header, cut(layout, (DENSE,) * len(layout.tensors), 1)
    return header, cut(layout, wire.require_densities(patch, len(layout.tensors)), found.value_bits)


def _on_cpu(tensors: Tensors) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", torch.float32) for name, tensor in tensors.items()}


def _with_feedback(delta: dict[K, Tensor], residual: dict[K, Tensor] | None, decay: float) -> dict[K, Tensor]:
    """decay · residual + delta: a product, then a sum. Without a residual the delta itself."""
    if residual is None:
        return delta
    factor = scalar(decay)
    return {key: factor * residual[key] + value for key, value in delta.items()}


def _refuse_nonfinite(tensors: dict[K, Tensor]) -> None:
    if not all(finite(tensor) for tensor in tensors.values()):
        raise NonFiniteError("the tensors to be compressed hold NaN or an infinity")
