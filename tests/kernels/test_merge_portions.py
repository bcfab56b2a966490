"""A merge taken apart: the parts add up, and nobody is blamed for what he did not send."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout
from collab.kernels.merge import Contribution, merge
from collab.kernels.merge.portions import portions

Tensors = dict[str, torch.Tensor]

SHAPES = {"a": (300,), "b": (70, 60), "c": (0,), "d": ()}
CODEC = Codec("sparse", 64, 3)
METHODS = ["average", "sparse-average", "fisher"]


def contributions(make: Callable[..., Tensors], seed: int, count: int) -> list[Contribution]:
    made = []
    for at in range(count):
        patch = kernels.compress(make(seed + at, "heavy", SHAPES), None, CODEC)[0]
        squares = {name: tensor.square() for name, tensor in make(seed + 500 + at, "heavy", SHAPES).items()}
        fisher = kernels.compress_on_support(squares, patch, bits=8)
        made.append(Contribution(patch, (at + 1) / sum(range(1, count + 1)), 0.5 + 0.5 / (at + 1), fisher))
    return made


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 1 << 20), count=st.integers(1, 5))
@settings(max_examples=15)
def test_the_parts_add_up_to_the_merge(make: Callable[..., Tensors], method: str, seed: int, count: int) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    given_parts = contributions(make, seed, count)
    merged = merge(method, layout, given_parts, cap=0.5, damping=0.1)
    divided = list(portions(method, layout, given_parts, cap=0.5, damping=0.1))
    assert len(divided) == count
    for name, tensor in merged.items():
        whole = torch.stack([part[name].double() for part in divided]).sum(dim=0)
        scale = torch.stack([part[name].abs() for part in divided]).sum(dim=0).max() if tensor.numel() else torch.tensor(0.0)
        torch.testing.assert_close(whole.float(), tensor, rtol=1e-5, atol=float(scale) * 1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_part_lies_on_its_patchs_support(make: Callable[..., Tensors], method: str) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    given_parts = contributions(make, 1, 3)
    for each, part in zip(given_parts, portions(method, layout, given_parts, cap=0.5, damping=0.1), strict=True):
        sent = kernels.decompress(each.payload, layout)
        assert all(torch.equal(part[name] != 0, sent[name] != 0) for name in sent)


@pytest.mark.parametrize("method", METHODS)
def test_the_part_of_one_does_not_depend_on_how_the_others_are_clipped(make: Callable[..., Tensors], method: str) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    given_parts = contributions(make, 7, 3)
    divided = list(portions(method, layout, given_parts, cap=0.5, damping=0.1))
    for at, expected in enumerate(divided):
        alone = [replace(each, clip=each.clip if other == at else 0.0) for other, each in enumerate(given_parts)]
        merged = merge(method, layout, alone, cap=0.5, damping=0.1)
        assert all(torch.equal(merged[name], expected[name]) for name in layout.names)


@pytest.mark.parametrize("method", METHODS)
def test_who_has_no_weight_has_no_part(make: Callable[..., Tensors], method: str) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    given_parts = contributions(make, 3, 4)
    for silent in range(4):
        weighted = [replace(each, weight=0.0 if at == silent else each.weight) for at, each in enumerate(given_parts)]
        divided = list(portions(method, layout, weighted, cap=0.5, damping=0.1))
        assert [at for at, part in enumerate(divided) if not any(bool(tensor.any()) for tensor in part.values())] == [silent]


def test_nobody_has_no_parts_and_an_unknown_method_is_refused(make: Callable[..., Tensors]) -> None:
    layout = Layout.of(make(0, "normal", SHAPES))
    assert list(portions("fisher", layout, [], cap=0.5)) == []
    with pytest.raises(ValueError, match="cannot be taken apart"):
        portions("slerp", layout, [], cap=0.5)
