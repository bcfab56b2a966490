"""Backends: chosen once, overridable in every call."""

from __future__ import annotations

from collections.abc import Callable

import torch

from collab import kernels
from collab.kernels import Backend, Codec, Layout
from collab.kernels.merge import Contribution, merge
from collab.kernels.reference import Reference

Make = Callable[..., dict[str, torch.Tensor]]


class Counting(Reference):
    """The reference, which counts its calls."""

    name = "counting"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattribute__(self, attribute: str) -> object:
        if attribute in vars(Reference) and attribute not in ("name", "__dict__"):
            object.__getattribute__(self, "calls").append(attribute)
        return object.__getattribute__(self, attribute)


def test_the_fastest_backend_is_the_default() -> None:
    names = kernels.backends()
    assert names[-1] == "reference"
    assert kernels.backend() is kernels.backend("native" if "native" in names else "reference")
    assert {name: kernels.backend(name).name for name in names} == {name: name for name in names}


def test_every_entry_takes_another_backend(make: Make) -> None:
    counting = Counting()
    other: Backend = counting
    delta = make(1)
    layout = Layout.of(delta)
    fisher = {name: tensor.square() for name, tensor in delta.items()}
    patch, _ = kernels.compress(delta, None, Codec(), backend=other)
    kernels.decompress(patch, layout, backend=other)
    kernels.decompress_accumulate(layout.zeros(), [(patch, 0.5)], backend=other)
    support = kernels.compress_on_support(fisher, patch, backend=other)
    kernels.decompress_on_support(support, patch, layout, backend=other)
    assert {"compress", "entries", "accumulate", "compress_on_support", "values_on_support"} <= set(counting.calls)
    counting.calls.clear()
    kernels.inspect(patch, layout, backend=other)
    assert counting.calls == ["entries"]
    counting.calls.clear()
    merge("average", layout, [Contribution(patch, 1.0)], cap=1.0, backend=other)
    assert counting.calls[0] == "accumulate"
