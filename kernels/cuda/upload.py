"""Sparse payloads on the device: uploaded, and checked by it before anything uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import wire
from ..errors import PayloadError
from ..layout import Buffer, Layout
from ..reference import patch_header
from ..wire import HEADER_BYTES, Kind
from . import arguments
from .arguments import bits_of_double, bits_of_single
from .launch import Launcher
from .tables import Table, table_of

FAULTS = (
    "",
    "a chunk's bitmap is longer than its gaps can be",
    "a payload's bitmaps have another length than its chunks say",
    "a chunk's bitmap ends with a byte of zeros",
    "a chunk marks more or fewer positions than it has values",
    "a chunk's positions lie beyond its end",
    "a chunk's scale is not zero, nor positive, finite and large enough",
    "a chunk of zeros has levels",
    "a chunk gives a sign to a zero",
    "a chunk is filled up with nonzero bits",
)
"""What a kernel's fault number means (kernels/csrc/decode.h)."""


@dataclass(frozen=True, eq=False)
class Upload:
    """A payload's chunks. `body`: uint8, records and then bitmaps; `ends`: int64, each chunk's bitmap's end."""

    table: Table
    body: Tensor
    ends: Tensor

    def part(self, weight: float = 1.0, clip: float = 1.0, fisher: Tensor | None = None, mean: float = 0.0) -> arguments.Part:
        """What kernels know of it. Weights are rounded to float32; `fisher` has a float32 for each entry."""
        return arguments.Part(
            table=self.table.argument(),
            records=self.body.data_ptr(),
            bitmaps=self.body.data_ptr() + self.table.record_bytes,
            ends=self.ends.data_ptr(),
            bitmap_bytes=len(self.body) - self.table.record_bytes,
            weight=bits_of_single(weight),
            clip=bits_of_single(clip),
            fisher=0 if fisher is None else fisher.data_ptr(),
            mean=bits_of_double(mean),
        )


def upload(launch: Launcher, payload: Buffer, layout: Layout, fault: Tensor) -> Upload:
    """Check a sparse patch as far as a host can, copy it to the device and enqueue the rest of the check, which writes `fault`.

    Raises `PayloadError`. Nothing is allocated before the payload's length is known to be possible.
    """
    header = patch_header(payload, layout)
    if header.kind != Kind.SPARSE:
        raise PayloadError("this patch is not sparse")
    densities = wire.require_densities(payload, len(layout.tensors))
    table = table_of(layout, densities, header.value_bits, launch.device)
    start = HEADER_BYTES + len(densities)
    bitmap_bytes = len(payload) - start - table.record_bytes
    if not 0 <= bitmap_bytes <= table.most_bitmap_bytes:
        raise PayloadError(f"a payload of {len(payload)} bytes is too short or too long for its chunks")
    wire.require_checksum(payload)
    body = to_device(memoryview(payload)[start:], launch.device)
    lengths = torch.empty(table.chunks, dtype=torch.int64, device=launch.device)
    reading = arguments.Lengths(table.argument(), body.data_ptr(), lengths.data_ptr(), fault.data_ptr())
    launch("read_lengths", -(-table.chunks // 32), reading)
    uploaded = Upload(table, body, lengths.cumsum(0))
    launch("check_chunks", table.chunks, arguments.Check(uploaded.part(), fault.data_ptr()))
    return uploaded


def require_no_faults(faults: Tensor) -> None:
    """Wait for the device and raise `PayloadError` if it found something wrong."""
    for fault in faults.tolist():
        if fault:
            raise PayloadError(FAULTS[fault])


def to_device(content: Buffer, device: torch.device) -> Tensor:
    """Bytes on the device, uint8, through pinned memory and without waiting."""
    host = torch.empty(len(content), dtype=torch.uint8, pin_memory=device.type == "cuda")
    host.numpy()[:] = np.frombuffer(content, dtype=np.uint8)
    return host.to(device, non_blocking=True)


def parts_table(parts: Sequence[arguments.Part], device: torch.device) -> Tensor:
    """The structs of several payloads, one after the other, as uint8."""
    return to_device(b"".join(bytes(part) for part in parts), device)
