"""Bodies of patches from tensors on a device: everything is enqueued, then one copy brings it all to the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import dense
from ..codec import Codec
from ..errors import NonFiniteError
from ..floats import scalar
from ..layout import Layout, Tensors
from . import arguments
from .launch import Launcher
from .tables import Table, table_of, upload_rows

_STATUS_BYTES = 16
"""Before the body in the result: int64 bytes of bitmaps, int64 whether a total was not finite."""

_NOT_FINITE = "the tensors to be compressed hold NaN or an infinity"


@dataclass(frozen=True, eq=False)
class Pending:
    """A body that the device is at work on. `result`: uint8, the status, records, and as many bytes as bitmaps can have."""

    table: Table
    densities: bytes
    result: Tensor

    def append_to(self, payload: bytearray) -> bytearray:
        """Wait for densities, records and bitmaps, and append them. `NonFiniteError`.

        The host learns the length with the payload: what is copied from the device is a few percent more than the payload.
        """
        host = _to_host(self.result)
        bitmap_bytes, nonfinite = host[:_STATUS_BYTES].view(torch.int64).tolist()
        if nonfinite:
            raise NonFiniteError(_NOT_FINITE)
        body = host[_STATUS_BYTES : _STATUS_BYTES + self.table.record_bytes + bitmap_bytes]
        payload += self.densities
        payload += body.numpy().data
        return payload


def sparse(
    launch: Launcher, delta: Tensors, residual: Tensors | None, codec: Codec, layout: Layout, left: Tensors
) -> Pending:
    """Enqueue the compression of tensors; `left`, which may be `residual`, receives the new residual."""
    device = launch.device
    densities = codec.densities(layout)
    table = table_of(layout, densities, codec.value_bits, device)
    sources, _copies = _sources(delta, residual, layout, left, device)
    result = torch.empty(_STATUS_BYTES + table.record_bytes + table.most_bitmap_bytes, dtype=torch.uint8, device=device)
    status = result[:_STATUS_BYTES].view(torch.int64).zero_()
    records = result.data_ptr() + _STATUS_BYTES
    slots = torch.empty(table.chunks * table.slot_bytes, dtype=torch.uint8, device=device)
    lengths = torch.empty(table.chunks, dtype=torch.int64, device=device)
    compressing = arguments.Compress(
        table=table.argument(),
        sources=sources.data_ptr(),
        records=records,
        slots=slots.data_ptr(),
        slot_bytes=table.slot_bytes,
        lengths=lengths.data_ptr(),
        nonfinite=status[1:].data_ptr(),
        decay=codec.decay,
    )
    launch("compress_chunks", table.chunks, compressing)
    ends = lengths.cumsum(0)
    status[0].copy_(lengths.sum())
    packing = arguments.Pack(slots.data_ptr(), table.slot_bytes, ends.data_ptr(), records + table.record_bytes)
    launch("pack_bitmaps", table.chunks, packing)
    return Pending(table, bytes(densities), result)


def halves(
    device: torch.device, delta: Tensors, residual: Tensors | None, codec: Codec, layout: Layout, left: Tensors
) -> Iterator[bytes]:
    """Every element as a half, a tensor at a time; `left` receives the residual. `NonFiniteError` before anything is changed."""
    totals = {name: delta[name].detach().float() for name in layout.names}
    if residual is not None:
        decay = scalar(codec.decay).to(device)
        totals = {name: decay * residual[name].detach() + total for name, total in totals.items()}
    if not all(bool(torch.isfinite(total).all()) for total in totals.values()):
        raise NonFiniteError(_NOT_FINITE)
    for name, total in totals.items():
        half = total.clamp(-dense.FP16_LARGEST, dense.FP16_LARGEST).half()
        left[name].copy_(total - half.float())
        yield half.reshape(-1).cpu().numpy().astype("<f2", copy=False).tobytes()


def _sources(
    delta: Tensors, residual: Tensors | None, layout: Layout, left: Tensors, device: torch.device
) -> tuple[Tensor, list[Tensor]]:
    """The table of what each tensor is read from and written to, and what has to live until it was used."""
    rows, alive = [], []
    for name in layout.names:
        change = delta[name].detach().contiguous()
        before = None if residual is None else residual[name].detach().contiguous()
        pointers = (change.data_ptr(), 0 if before is None else before.data_ptr(), left[name].data_ptr())
        rows.append((*pointers, int(change.dtype == torch.bfloat16)))
        alive += [change] if before is None else [change, before]
    return upload_rows(rows, device), alive


def _to_host(tensor: Tensor) -> Tensor:
    """A copy in pinned memory, waited for."""
    if tensor.device.type != "cuda":
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return host
