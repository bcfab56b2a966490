"""Updates as products of two thin matrices: small where training moved a matrix in few directions, as adapters do.

The idea is that of LoRA (Hu et al. 2022), afterwards. A payload is a safetensors file of halves
(https://huggingface.co/docs/safetensors/index#format). A tensor of the layout, seen as a matrix (its first dimension by all
others), is `a/NAME` (rows, r) times `b/NAME` (r, columns), or `w/NAME` whole, or left out: zero. The product is summed in a fixed
order in float64 and rounded once, so a payload means the same bits everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .errors import PayloadError
from .floats import finite
from .layout import Buffer, Layout, Tensors
from .solve import product

_HALF_LARGEST = 65504.0
_HEADER_BYTES_PER_TENSOR = 2048


def encode(delta: Tensors, error: float) -> bytes:
    """Each matrix by the least rank that leaves at most `error` of its norm, or whole where that is shorter.

    Rounding to halves adds a few ten-thousandths.
    """
    parts: dict[str, Tensor] = {}
    for name in sorted(delta):
        if bool(delta[name].any()):
            parts |= _encoded(name, delta[name].detach().float(), error)
    return save(parts)


def decode(payload: Buffer, layout: Layout) -> dict[str, Tensor]:
    """New float32 tensors. Raises `PayloadError`, nothing else. Memory is bounded by the payload's size and the layout's."""
    if len(payload) > max_bytes(layout):
        raise PayloadError(f"a low-rank payload of {len(payload)} bytes is larger than the whole model")
    try:
        parts = load(bytes(payload))
    except (SafetensorError, ValueError, KeyError) as error:
        raise PayloadError(f"not a safetensors file: {error}") from error
    tensors = {name: _decoded(parts, name, shape) for name, shape in layout.tensors}
    known = {f"{kind}/{name}" for name in layout.names for kind in "abw"}
    if unknown := parts.keys() - known:
        raise PayloadError(f"{min(unknown)[:80]!r} is no part of the model")
    return tensors


def max_bytes(layout: Layout) -> int:
    """Bytes of the longest payload that `encode` makes: every tensor whole, and the names."""
    return 2 * layout.numel() + _HEADER_BYTES_PER_TENSOR * (len(layout.tensors) + 1)


def _encoded(name: str, delta: Tensor, error: float) -> dict[str, Tensor]:
    rows, columns = _matrix_shape(tuple(delta.shape))
    if min(rows, columns) > 1:
        left, values, right = torch.linalg.svd(delta.reshape(rows, columns), full_matrices=False)
        rank = _rank(values, error)
        if rank * (rows + columns) < rows * columns:
            roots = values[:rank].sqrt()
            return {f"a/{name}": _half(left[:, :rank] * roots), f"b/{name}": _half(roots.unsqueeze(1) * right[:rank])}
    return {f"w/{name}": _half(delta)}


def _rank(values: Tensor, error: float) -> int:
    """The least number of singular values without which at most `error` of their norm is missing."""
    squares = values.double().square()
    missing = squares.sum() - squares.cumsum(0)
    return int((missing > error**2 * squares.sum()).sum()) + 1


def _half(values: Tensor) -> Tensor:
    return values.clamp(-_HALF_LARGEST, _HALF_LARGEST).half().contiguous()


def _decoded(parts: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    a, b, whole = (parts.get(f"{kind}/{name}") for kind in "abw")
    if a is None and b is None and whole is None:
        return torch.zeros(shape)
    for part in (a, b, whole):
        if part is not None and (part.dtype != torch.float16 or not finite(part)):
            raise PayloadError(f"a part of {name!r} is not of finite halves")
    if whole is not None and a is None and b is None and tuple(whole.shape) == shape:
        return whole.float()
    rows, columns = _matrix_shape(shape)
    if whole is not None or a is None or b is None or a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0]:
        raise PayloadError(f"the parts of {name!r} do not fit each other")
    if (a.shape[0], b.shape[1]) != (rows, columns) or not 1 <= a.shape[1] <= min(rows, columns):
        raise PayloadError(f"the parts of {name!r} do not fit its shape {shape}")
    return product(a.double(), b.double()).float().reshape(shape)


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], math.prod(shape[1:])) if shape else (1, 1)
