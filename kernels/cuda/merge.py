"""The Fisher-weighted merge of kernels/merge/fisher.py on a device: the same bits.

Coordinates are the kernel's work (kernels/csrc/fisher.h), each contribution's mean is that of kernels/canonical.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..canonical import pairwise_sum, total
from ..layout import Layout
from ..merge.contribution import Contribution, Policy, limited_weights
from ..reference import patch_header
from ..wire import Kind
from . import arguments
from .backend import Cuda
from .upload import parts_table


def fisher(layout: Layout, contributions: Sequence[Contribution], policy: Policy, backend: Cuda) -> dict[str, Tensor]:
    """See `kernels.merge.fisher`; the result is on the device, as are all payloads at once and four tensors of the model's size.

    Raises `PayloadError` if a payload does not decode, `ValueError` if one is a patch of the dense kind.
    """
    weighted = [pair for pair in zip(contributions, limited_weights(contributions, policy), strict=True) if pair[1] > 0]
    if any(patch_header(each.payload, layout).kind != Kind.SPARSE for each, _ in weighted):
        raise ValueError("the merge on a device takes sparse patches only")
    merged, weights, fishers = (_full(layout, backend, 0) for _ in range(3))
    tempers = _full(layout, backend, 1)
    uploads = backend.upload([each.payload for each, _ in weighted], layout)
    fisher_values = [_fisher(each, layout, backend) for each, _ in weighted]
    parts = [
        uploaded.part(weight, each.clip, values, mean)
        for uploaded, (each, weight), (values, mean) in zip(uploads, weighted, fisher_values, strict=True)
    ]
    if parts:
        table = parts_table(parts, backend.device)
        addresses = [backend.addresses(tensors, layout) for tensors in (weights, fishers, tempers, merged)]
        merging = arguments.Merge(
            table.data_ptr(),
            len(parts),
            *(each.data_ptr() for each in addresses),
            damping=policy.damping,
            limit=policy.limit(len(contributions)),
        )
        backend.launch("merge_chunks", uploads[0].table.chunks, merging)
    return merged


def _fisher(contribution: Contribution, layout: Layout, backend: Cuda) -> tuple[Tensor | None, float]:
    """Values in the order of the patch's entries, and their mean."""
    if contribution.fisher is None:
        return None, 0.0
    values = backend.values_on_support(contribution.fisher, contribution.payload, layout)
    sums = torch.tensor([total(part) for part in values.values()], dtype=torch.float64)
    mean = pairwise_sum(sums) / max(1, sum(part.numel() for part in values.values()))
    return torch.cat([*values.values()]).to(backend.device), mean


def _full(layout: Layout, backend: Cuda, value: float) -> dict[str, Tensor]:
    return {name: torch.full(shape, value, dtype=torch.float32, device=backend.device) for name, shape in layout.tensors}
