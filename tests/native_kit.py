"""The native backend in every instruction set that this machine has, and what it is compared with."""

from __future__ import annotations

import pytest
import torch
from cuda_cases import same, same_entries

from collab import kernels
from collab.kernels import Codec, Layout, PayloadError
from collab.kernels.native import LibraryError, Native
from collab.kernels.native.library import find
from collab.kernels.reference import Reference

Tensors = dict[str, torch.Tensor]

REFERENCE = Reference()


def _available() -> tuple[str, ...]:
    try:
        return find().instructions
    except LibraryError:
        return ()


INSTRUCTIONS = _available()
"""The sets that this machine has; none where the library was not built."""

ALL = [pytest.param(name, id=name) for name in INSTRUCTIONS] or [
    pytest.param("", marks=pytest.mark.skip("the native library was not built"))
]


def agree(native: Native, delta: Tensors, residual: Tensors | None, codec: Codec, start: Tensors | None = None) -> bytes:
    """Payload, residual, entries and accumulated result are the reference's, bit for bit. Returns the payload.

    `start` is what is added to, by default the delta.
    """
    layout = Layout.of(delta, torch.float32, torch.bfloat16)
    payload, left = REFERENCE.compress(delta, residual, codec, layout, None)
    found, found_left = native.compress(delta, residual, codec, layout, None)
    assert found == payload
    same(found_left, left)
    if residual is not None:
        in_place = copied(residual)
        again, returned = native.compress(delta, in_place, codec, layout, in_place)
        assert again == payload
        assert returned is in_place
        same(in_place, left)
    same_entries(native.entries(payload, layout), REFERENCE.entries(payload, layout))
    into, expected = copied(start or delta), copied(start or delta)
    parts = [(payload, 0.3), (payload, -1.7), (payload, 1e-30)]
    native.accumulate(into, parts, layout)
    REFERENCE.accumulate(expected, parts, layout)
    same(into, expected)
    return payload


def verdict(backend: kernels.Backend, payload: bytes, layout: Layout) -> Tensors | None:
    """What it decodes to, or None if it is refused."""
    try:
        return kernels.decompress(payload, layout, backend=backend)
    except PayloadError:
        return None


def same_verdict(native: Native, payload: bytes, layout: Layout) -> bool:
    """The native backend decodes or refuses as the reference does, whatever is asked of it. Returns whether it decodes."""
    expected, found = verdict(REFERENCE, payload, layout), verdict(native, payload, layout)
    into = layout.zeros()
    try:
        native.accumulate(into, [(payload, 1.0)], layout)
    except PayloadError:
        assert expected is None
        assert not any(bool(tensor.any()) for tensor in into.values())
    if expected is None or found is None:
        assert found is expected is None
        return False
    same(found, expected)
    return True


def copied(tensors: Tensors) -> Tensors:
    """Contiguous float32 copies."""
    return {name: tensor.to(torch.float32, memory_format=torch.contiguous_format, copy=True) for name, tensor in tensors.items()}
