"""Gram matrices of linear layers (RegMean, Jin et al. 2023) as bytes: lower triangles L in halves, with G = scale · LLᵀ.

So whatever the bytes say, what is decoded is symmetric and positive semidefinite, as a mean of xxᵀ is. A payload is a safetensors
file (https://huggingface.co/docs/safetensors/index#format): `l/NAME` holds the rows of L up to the diagonal, one after another,
`s/NAME` the scale, one float32. The product is summed in a fixed order, so a payload means the same bits everywhere.
"""

from __future__ import annotations

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .errors import NonFiniteError, PayloadError
from .floats import finite
from .layout import Buffer, Layout, Tensors
from .solve import product

MOST_INPUTS = 1024
"""Layers of more inputs d go without: a matrix takes d² bytes, and merging with it some d² · (d + outputs) operations."""

_JITTER = 1e-6
"""Of the largest diagonal value, added to the diagonal: fewer samples than inputs give a singular matrix."""
_HEADER_BYTES_PER_TENSOR = 2048


def encode(grams: Tensors) -> bytes:
    """Symmetric positive semidefinite (d, d) matrices by the name of their layer's weight.

    Raises `NonFiniteError` on NaN and infinities.
    """
    parts: dict[str, Tensor] = {}
    for name in sorted(grams):
        if not finite(grams[name]):
            raise NonFiniteError(f"the Gram matrix of {name!r} is not finite")
        lower, scale = _factored(grams[name].double())
        rows, columns = torch.tril_indices(*lower.shape)
        parts |= {f"l/{name}": lower[rows, columns].half(), f"s/{name}": scale.float().reshape(1)}
    return save(parts)


def decode(payload: Buffer, layout: Layout) -> dict[str, Tensor]:
    """New float32 matrices. Raises `PayloadError`, nothing else. Memory is bounded by the layout."""
    if len(payload) > max_bytes(layout):
        raise PayloadError(f"{len(payload)} bytes of Gram matrices are more than this model has")
    try:
        parts = load(bytes(payload))
    except (SafetensorError, ValueError, KeyError) as error:
        raise PayloadError(f"not a safetensors file: {error}") from error
    sizes = _inputs(layout)
    names = sorted(key[2:] for key in parts if key.startswith("l/"))
    if unknown := parts.keys() - {f"{kind}/{name}" for name in names if name in sizes for kind in "ls"}:
        raise PayloadError(f"{min(unknown)[:80]!r} is no part of a Gram matrix of this model")
    return {name: _decoded(name, parts[f"l/{name}"], parts.get(f"s/{name}"), sizes[name]) for name in names}


def max_bytes(layout: Layout) -> int:
    """Bytes of the longest payload: a matrix for every layer that may have one, and the names."""
    header = _HEADER_BYTES_PER_TENSOR * (1 + len(layout.tensors))
    return header + sum(inputs * (inputs + 1) for inputs in _inputs(layout).values())


def _inputs(layout: Layout) -> dict[str, int]:
    """The number of inputs of each layer that may have a matrix."""
    return {name: shape[1] for name, shape in layout.tensors if len(shape) == 2 and 0 < shape[1] <= MOST_INPUTS}


def _factored(gram: Tensor) -> tuple[Tensor, Tensor]:
    """L and scale of a float64 matrix; the scale is its largest diagonal value, so that L fits into halves."""
    scale = gram.diagonal().max()
    jitter = _JITTER * torch.eye(len(gram), dtype=torch.float64)
    if not scale > 0:
        return torch.zeros_like(gram), torch.zeros_like(scale)
    return torch.linalg.cholesky(gram / scale + jitter), scale


def _decoded(name: str, lower: Tensor, scale: Tensor | None, size: int) -> Tensor:
    if scale is None or scale.dtype != torch.float32 or tuple(scale.shape) != (1,) or lower.dtype != torch.float16:
        raise PayloadError(f"the Gram matrix of {name!r} is not of halves with a float32 scale")
    if tuple(lower.shape) != (size * (size + 1) // 2,):
        raise PayloadError(f"the Gram matrix of {name!r} does not fit a layer of {size} inputs")
    whole = torch.zeros(size, size, dtype=torch.float64)
    rows, columns = torch.tril_indices(size, size)
    whole[rows, columns] = lower.double()
    gram = (product(whole, whole.T) * scale.double()).float()
    if not finite(gram) or bool(scale < 0):
        raise PayloadError(f"the Gram matrix of {name!r} is not finite and non-negative")
    return gram
