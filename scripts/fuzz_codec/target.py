"""What is done with the fuzzer's bytes: they choose a model and a codec, and damage the payload that the reference makes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch

from collab import kernels
from collab.kernels import Backend, Codec, Layout, PayloadError, wire
from collab.kernels.reference import Reference

if TYPE_CHECKING:
    from atheris import FuzzedDataProvider

_SHAPES: tuple[dict[str, tuple[int, ...]], ...] = (
    {"w": (4096,)},
    {"a": (150,), "b": (2, 3), "c": (0,), "d": (), "e": (2,)},
    {"a": (4097,), "b": (33,)},
    {"a": ()},
    {},
)
_CODECS = (
    Codec(k=16),
    Codec(k=64, value_bits=1),
    Codec(k=512, value_bits=4),
    Codec(k=256, value_bits=8, dense_below=100),
    Codec(dense_below=200),
    Codec("fp16"),
)
_REFERENCE = Reference()


class Disagreement(Exception):
    """The native backend did not do as the reference did."""


def run(data: FuzzedDataProvider, native: Backend) -> None:
    """Raises `Disagreement` if one backend decodes what the other refuses, or decodes it differently."""
    layout = _layout(data.ConsumeIntInRange(0, len(_SHAPES) - 1))
    payload = bytearray(_payload(layout, data.ConsumeIntInRange(0, len(_CODECS) - 1)))
    for _ in range(data.ConsumeIntInRange(0, 4)):
        _damage(payload, data)
    if len(payload) >= wire.HEADER_BYTES and data.ConsumeIntInRange(0, 15):
        payload = bytearray(wire.seal(payload))
    expected, found = _decoded(_REFERENCE, payload, layout), _decoded(native, payload, layout)
    added = layout.zeros()
    try:
        native.accumulate(added, [(payload, 1.0)], layout)
    except PayloadError:
        added = {}
    if expected is None:
        if found is not None or added:
            raise Disagreement("decoded what the reference refused")
        return
    for name, tensor in expected.items():
        if found is None or not _same(found[name], tensor) or not torch.equal(added[name], tensor):
            raise Disagreement(f"{name} is refused or decoded differently")


def _damage(payload: bytearray, data: FuzzedDataProvider) -> None:
    at = data.ConsumeIntInRange(0, len(payload))
    new = data.ConsumeBytes(data.ConsumeIntInRange(0, 16))
    removed = data.ConsumeIntInRange(0, 16) if data.ConsumeBool() else len(new)
    payload[at : at + removed] = new


def _decoded(backend: Backend, payload: bytearray, layout: Layout) -> dict[str, torch.Tensor] | None:
    try:
        return kernels.decompress(payload, layout, backend=backend)
    except PayloadError:
        return None


def _same(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.equal(found.view(torch.int32), expected.view(torch.int32))


@cache
def _layout(number: int) -> Layout:
    return Layout(tuple(sorted(_SHAPES[number].items())))


@cache
def _payload(layout: Layout, codec: int) -> bytes:
    generator = torch.Generator().manual_seed(codec)
    delta = {name: torch.randn(shape, generator=generator) ** 3 for name, shape in layout.tensors}
    return _REFERENCE.compress(delta, None, _CODECS[codec], layout, None)[0]
