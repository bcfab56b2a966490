"""The seam for tensors on a CUDA device.

All work goes to torch's current stream, in order; so a tensor may be dropped as soon as the kernel that reads it is enqueued.
`compress` waits once, for the payload, and `accumulate` once, for the check of all payloads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import wire
from ..codec import DENSE, Codec
from ..floats import scalar
from ..layout import Buffer, Layout, Tensors
from ..pieces import chunk_count
from ..reference import Reference, patch_header
from ..seam import Entries
from ..wire import Header, Kind
from . import arguments, compress
from .launch import Launcher
from .tables import table_of, upload_rows
from .upload import Upload, parts_table, require_no_faults, upload


class Cuda(Reference):
    """Tensors it is given are on its launcher's device. What it returns where none are given is on the CPU.

    Values on a support are the reference's work.
    """

    name = "cuda"

    def __init__(self, launch: Launcher) -> None:
        self.launch = launch

    @property
    def device(self) -> torch.device:
        return self.launch.device

    def compress(
        self, delta: Tensors, residual: Tensors | None, codec: Codec, layout: Layout, out: dict[str, Tensor] | None
    ) -> tuple[bytes, dict[str, Tensor]]:
        self._require_here(delta, residual or {}, out or {})
        left = out
        if left is None:
            left = {name: torch.empty(shape, dtype=torch.float32, device=self.device) for name, shape in layout.tensors}
        kind, value_bits = (Kind.FP16, 16) if codec.kind == "fp16" else (Kind.SPARSE, codec.value_bits)
        payload = bytearray(Header(kind, value_bits, layout.numel(), chunk_count(layout), layout.digest()).pack())
        if kind == Kind.FP16:
            for body in compress.halves(self.device, delta, residual, codec, layout, left):
                payload += body
        else:
            compress.sparse(self.launch, delta, residual, codec, layout, left).append_to(payload)
        return wire.seal(payload), left

    def entries(self, payload: Buffer, layout: Layout) -> dict[str, Entries]:
        if patch_header(payload, layout).kind == Kind.FP16:
            return super().entries(payload, layout)
        (uploaded,) = self.upload([payload], layout)
        counts = uploaded.table.entries
        index = torch.empty(sum(counts), dtype=torch.int64, device=self.device)
        values = torch.empty(sum(counts), dtype=torch.float32, device=self.device)
        listing = arguments.List(uploaded.part(), index.data_ptr(), values.data_ptr())
        self.launch("list_chunks", uploaded.table.chunks, listing)
        both = (torch.split(part.cpu(), list(counts)) for part in (index, values))
        return {name: Entries(*pair) for name, *pair in zip(layout.names, *both, strict=True)}

    def accumulate(self, into: dict[str, Tensor], parts: Sequence[tuple[Buffer, float]], layout: Layout) -> None:
        self._require_here(into)
        is_sparse = [patch_header(payload, layout).kind == Kind.SPARSE for payload, _ in parts]
        for (payload, _), sparse in zip(parts, is_sparse, strict=True):
            if not sparse:
                super().entries(payload, layout)
        uploads = self.upload([payload for (payload, _), sparse in zip(parts, is_sparse, strict=True) if sparse], layout)
        left, run = iter(uploads), []
        for (payload, weight), sparse in zip(parts, is_sparse, strict=True):
            if sparse:
                run.append(next(left).part(weight))
            else:
                self.add(into, run, layout)
                run = []
                self._add_halves(into, payload, weight, layout)
        self.add(into, run, layout)

    def accumulate_squares(self, diagonal: dict[str, Tensor], gradients: Tensors) -> None:
        """diagonal += gradient², in place: a float32 product, then a sum (`kernels.fisher.accumulate`).

        `diagonal` is contiguous float32, `gradients` float32 or bfloat16 of the same layout, else `ValueError`.
        """
        self._require_here(diagonal, gradients)
        layout = Layout.of(diagonal)
        if Layout.of(gradients, torch.float32, torch.bfloat16) != layout or not all(t.is_contiguous() for t in diagonal.values()):
            raise ValueError("gradients do not have the diagonal's layout, or the diagonal is not contiguous")
        table = table_of(layout, (DENSE,) * len(layout.tensors), 1, self.device)
        alive = {name: gradients[name].detach().contiguous() for name in layout.names}
        rows = [(diagonal[name].data_ptr(), g.data_ptr(), int(g.dtype == torch.bfloat16)) for name, g in alive.items()]
        squares = upload_rows(rows, self.device)
        self.launch("square_chunks", table.chunks, arguments.Squares(table.argument(), squares.data_ptr()))

    def upload(self, payloads: Sequence[Buffer], layout: Layout) -> list[Upload]:
        """Sparse patches on the device. Raises `PayloadError` unless all are valid; waits for the device to say so."""
        faults = torch.zeros(len(payloads), dtype=torch.int64, device=self.device)
        uploads = [upload(self.launch, payload, layout, fault) for payload, fault in zip(payloads, faults, strict=True)]
        require_no_faults(faults)
        return uploads

    def add(self, into: Tensors, parts: Sequence[arguments.Part], layout: Layout) -> None:
        """Enqueue into += weight · value for uploaded patches, in order."""
        if parts:
            table, targets = parts_table(parts, self.device), self.addresses(into, layout)
            adding = arguments.Accumulate(table.data_ptr(), len(parts), targets.data_ptr())
            self.launch("accumulate_chunks", chunk_count(layout), adding)

    def addresses(self, tensors: Tensors, layout: Layout) -> Tensor:
        """Where they are, in the layout's order, on the device."""
        return upload_rows([[tensors[name].data_ptr()] for name in layout.names], self.device)

    def _add_halves(self, into: Tensors, payload: Buffer, weight: float, layout: Layout) -> None:
        factor = scalar(weight).to(self.device)
        for name, entries in super().entries(payload, layout).items():
            product = factor * entries.values.to(self.device)
            into[name].view(-1).add_(product)

    def _require_here(self, *groups: Tensors) -> None:
        for name, tensor in (item for group in groups for item in group.items()):
            if tensor.device != self.device:
                raise ValueError(f"tensor {name!r} is on {tensor.device}, this backend works on {self.device}")
