"""Where each chunk of a layout lies, as tables on a device (kernels/csrc/chunks.h)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..codec import CHUNK
from ..form import Form
from ..layout import Layout
from . import arguments

Row = Sequence[int]


@dataclass(frozen=True, eq=False)
class Table:
    """Of a layout with these densities and value bits. `entries`: kept values by tensor; sizes are in bytes.

    `tensors` has a row of int64 a tensor, `owners` an int32 a chunk.
    """

    tensors: Tensor
    owners: Tensor
    value_bits: int
    entries: tuple[int, ...]
    record_bytes: int
    most_bitmap_bytes: int
    slot_bytes: int

    @property
    def chunks(self) -> int:
        return len(self.owners)

    def argument(self) -> arguments.Table:
        """What a kernel is told, which is about to be launched on the current stream."""
        if self.owners.is_cuda:  # the table may leave the cache, and its memory be used again, before that kernel runs
            for tensor in (self.tensors, self.owners):
                tensor.record_stream(torch.cuda.current_stream(tensor.device))
        return arguments.Table(self.tensors.data_ptr(), self.owners.data_ptr(), self.chunks, self.value_bits)


@lru_cache(maxsize=32)
def table_of(layout: Layout, densities: tuple[int, ...], value_bits: int, device: torch.device) -> Table:
    """The table, from the forms of each tensor's full chunks and its last, shorter one."""
    rows: list[Row] = []
    entries: list[int] = []
    chunks: list[int] = []
    record_bytes = most_bitmap_bytes = slot_bytes = 0
    for (_, shape), density in zip(layout.tensors, densities, strict=True):
        elements = math.prod(shape)
        full, tail = divmod(elements, CHUNK)
        whole = Form.of(CHUNK, density, value_bits)
        rows.append((elements, sum(chunks), density, record_bytes, whole.record_bytes, sum(entries)))
        parts = [(full, whole)] + ([(1, Form.of(tail, density, value_bits))] if tail else [])
        entries.append(sum(count * form.kept for count, form in parts))
        chunks.append(sum(count for count, _ in parts))
        record_bytes += sum(count * form.record_bytes for count, form in parts)
        most_bitmap_bytes += sum(count * form.most_bitmap for count, form in parts)
        slot_bytes = max(slot_bytes, *(form.most_bitmap for _, form in parts))
    owners = torch.repeat_interleave(torch.arange(len(chunks), dtype=torch.int32), torch.tensor(chunks, dtype=torch.int64))
    tensors = torch.tensor(rows, dtype=torch.int64).view(-1, 6)
    return Table(
        tensors=tensors.to(device),  # these two wait for the copy: another stream may use the table next
        owners=owners.to(device),
        value_bits=value_bits,
        entries=tuple(entries),
        record_bytes=record_bytes,
        most_bitmap_bytes=most_bitmap_bytes,
        slot_bytes=slot_bytes,
    )


def upload_rows(rows: Sequence[Row], device: torch.device) -> Tensor:
    """Rows of numbers below 2^64 as int64 on the device; on the current stream, without waiting."""
    signed = [[number - (1 << 64) if number >> 63 else number for number in row] for row in rows]
    table = torch.tensor(signed, dtype=torch.int64)
    return (table.pin_memory() if device.type == "cuda" else table).to(device, non_blocking=True)
