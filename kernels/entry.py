"""The public functions: check the arguments, then hand over to a backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from . import cuda, native, wire
from .codec import Codec
from .layout import Buffer, Layout, Tensors
from .reference import Reference
from .seam import Backend


def backends() -> list[str]:
    """Names of the backends that work on this machine, the fastest first."""
    return [name for name in _NAMES if _loaded(name) is not None]


def backend(name: str | None = None) -> Backend:
    """The backend of that name, or the default for tensors on the CPU. `ValueError` if there is none."""
    found = (_loaded("native") or _loaded("reference")) if name is None else _loaded(name)
    if found is None:
        raise ValueError(f"no backend {name!r} here, only {', '.join(backends())}")
    return found


_NAMES = ("cuda", "native", "reference")


@cache
def _loaded(name: str) -> Backend | None:
    """Opens a device only for who asks for it: whoever works on the CPU takes none of a GPU's memory."""
    if name == "cuda":
        return cuda.load() if torch.cuda.is_available() else None
    if name == "native":
        return native.load()
    return Reference() if name == "reference" else None


def _chosen(backend_given: Backend | None, tensors: Tensors) -> Backend:
    """The one given, or the fastest for where the tensors are."""
    if backend_given is not None:
        return backend_given
    for tensor in tensors.values():
        if tensor.is_cuda:
            return cuda.load(tensor.device.index) or backend("reference")
    return backend()


def compress(
    delta: Tensors,
    residual: Tensors | None,
    codec: Codec,
    *,
    out: dict[str, Tensor] | None = None,
    backend: Backend | None = None,
) -> tuple[bytes, dict[str, Tensor]]:
    """Encode a pseudo-gradient and what earlier rounds left out; return the payload and what it leaves out.

    With total = decay · residual + delta (float32, a product then a sum; total = delta without a residual), the new
    residual is total − decompress(payload), in float32. It is to be kept only if the payload was really sent.

    `delta` is float32 or bfloat16, `residual` float32. The new residual is written into `out`, contiguous float32 tensors, or
    else into new ones. `out` may be the residual itself: no memory is faster, but the residual is lost if an error is raised.
    Other arguments are not changed.

    Raises `NonFiniteError` if a total is NaN or infinite, `ValueError` if the residual or `out` has another layout.
    """
    layout = Layout.of(delta, torch.float32, torch.bfloat16)
    if residual is not None:
        layout.require(residual, "the residual")
    if out is not None:
        layout.require(out, "what receives the residual")
        _require_contiguous(out)
    return _chosen(backend, delta).compress(delta, residual, codec, layout, out)


def decompress(payload: Buffer, layout: Layout, *, backend: Backend | None = None) -> dict[str, Tensor]:
    """Decode a patch into new float32 tensors, zero where it says nothing. Raises `PayloadError`, nothing else."""
    entries = _chosen(backend, {}).entries(payload, layout)
    tensors = layout.zeros()
    for name, part in entries.items():
        part.put(tensors[name], part.values)
    return tensors


def decompress_accumulate(
    into: dict[str, Tensor], parts: Sequence[tuple[Buffer, float]], *, backend: Backend | None = None
) -> None:
    """For each payload and weight, in order: into += float32(weight) · decode(payload) where the patch says something.

    A product, then a sum. `into` holds contiguous float32 tensors. Raises `PayloadError`, before anything is changed.
    """
    for _, weight in parts:
        if not math.isfinite(weight):
            raise ValueError(f"weight must be finite, not {weight}")
    layout = Layout.of(into)
    _require_contiguous(into)
    _chosen(backend, into).accumulate(into, parts, layout)


def compress_on_support(
    values: Tensors, support: Buffer, *, bits: int = 4, backend: Backend | None = None
) -> bytes:
    """Encode non-negative values (a Fisher diagonal) on the coordinates of the patch `support`, 4 or 8 bits each.

    Values elsewhere are ignored. Raises `PayloadError` if `support` is no patch of this layout or a value on it is
    negative, `NonFiniteError` if one is NaN or infinite.
    """
    if bits not in wire.SUPPORT_BITS:
        raise ValueError(f"bits must be 4 or 8, not {bits}")
    return _chosen(backend, values).compress_on_support(values, support, bits, Layout.of(values))


def decompress_on_support(
    payload: Buffer, support: Buffer, layout: Layout, *, backend: Backend | None = None
) -> dict[str, Tensor]:
    """Decode into new float32 tensors, zero off the support. Raises `PayloadError` if either is not what it should be,
    or if `payload` was made for another patch than `support`."""
    chosen = _chosen(backend, {})
    values = chosen.values_on_support(payload, support, layout)
    tensors = layout.zeros()
    for name, part in chosen.entries(support, layout).items():
        part.put(tensors[name], values[name])
    return tensors


def _require_contiguous(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise ValueError(f"tensor {name!r} is not contiguous")
