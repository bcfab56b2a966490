"""Proposed changes: the smallest form that keeps to its error, and low-rank payloads from strangers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from collab.kernels import Layout, PayloadError, Tensors, lowrank, norm
from collab.kernels.change import decode, smallest

Make = Callable[..., dict[str, torch.Tensor]]

SHAPES = {"bias": (130,), "conv": (8, 3, 4, 4), "matrix": (96, 80), "none": (0, 3), "scalar": ()}


def normal(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative(delta: Tensors, decoded: Tensors) -> float:
    return norm({name: delta[name] - decoded[name] for name in delta}) / norm(delta)


def changes() -> dict[str, dict[str, torch.Tensor]]:
    zero = torch.zeros(128, 128)
    few = zero.clone()
    few[::16, ::8] = normal((8, 16), 1)
    thin = 1e-3 * normal((128, 2), 2) @ normal((2, 128), 3)
    return {"sparse": {"w": few}, "low-rank": {"w": thin}, "dense": {"w": normal((128, 128), 4)}}


@pytest.mark.parametrize("form", ["sparse", "low-rank", "dense"])
@pytest.mark.parametrize("error", [0.01, 0.05])
def test_the_form_suits_the_change_and_keeps_to_the_error(form: str, error: float) -> None:
    delta = changes()[form]
    encoded = smallest(delta, error)
    assert encoded.form == form
    decoded = decode(encoded.form, encoded.payload, Layout.of(delta))
    assert relative(delta, decoded) <= encoded.error * (1 + 1e-6) <= error * (1 + 1e-6)
    assert len(encoded.payload) < 2.2 * 128 * 128


def test_a_smaller_error_costs_more_bytes() -> None:
    sizes = [len(smallest(changes()["dense"], error).payload) for error in (0.5, 0.1, 0.01, 0.001)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.6 * sizes[-1]


def test_nothing_to_encode_and_nothing_that_keeps() -> None:
    with pytest.raises(ValueError, match="nothing changed"):
        smallest({"w": torch.zeros(3)}, 0.1)
    with pytest.raises(ValueError, match="relative error of 1e-09"):
        smallest(changes()["dense"], 1e-9)
    with pytest.raises(PayloadError, match="no form"):
        decode("vague", b"", Layout((("w", (1,)),)))


@given(seed=st.integers(0, 1 << 20), error=st.sampled_from((0.003, 0.1, 0.5)))
@settings(max_examples=15)
def test_low_rank_round_trip(make: Make, seed: int, error: float) -> None:
    delta = {name: 1e-3 * tensor for name, tensor in make(seed, "heavy", SHAPES).items()}
    payload = lowrank.encode(delta, error)
    decoded = lowrank.decode(payload, Layout.of(delta))
    assert relative(delta, decoded) <= error + 2e-3
    assert len(payload) <= lowrank.max_bytes(Layout.of(delta))
    assert {name: tensor.shape for name, tensor in decoded.items()} == {name: tensor.shape for name, tensor in delta.items()}


def test_a_tensor_that_did_not_change_costs_nothing() -> None:
    delta = {"a": torch.zeros(40, 40), "b": torch.ones(40, 40)}
    payload = lowrank.encode(delta, 0.01)
    assert set(load(payload)) == {"a/b", "b/b"}
    assert load(payload)["a/b"].shape == (40, 1)
    assert torch.equal(lowrank.decode(payload, Layout.of(delta))["a"], delta["a"])


LAYOUT = Layout((("w", (6, 5)), ("x", (4,))))
HALF = torch.float16


@pytest.mark.parametrize(
    "parts",
    [
        {"a/w": torch.ones(6, 2, dtype=HALF)},
        {"a/w": torch.ones(6, 2, dtype=HALF), "b/w": torch.ones(3, 5, dtype=HALF)},
        {"a/w": torch.ones(5, 2, dtype=HALF), "b/w": torch.ones(2, 5, dtype=HALF)},
        {"a/w": torch.ones(6, 0, dtype=HALF), "b/w": torch.ones(0, 5, dtype=HALF)},
        {"a/w": torch.ones(6, 6, dtype=HALF), "b/w": torch.ones(6, 5, dtype=HALF)},
        {"a/w": torch.ones(6, 1, dtype=HALF), "b/w": torch.ones(1, 5, dtype=HALF), "w/w": torch.ones(6, 5, dtype=HALF)},
        {"a/w": torch.ones(6, dtype=HALF), "b/w": torch.ones(5, dtype=HALF)},
        {"w/w": torch.ones(5, 6, dtype=HALF)},
        {"w/w": torch.ones(6, 5)},
        {"w/w": torch.full((6, 5), float("inf"), dtype=HALF)},
        {"w/other": torch.ones(6, 5, dtype=HALF)},
        {"w": torch.ones(6, 5, dtype=HALF)},
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, torch.Tensor]) -> None:
    with pytest.raises(PayloadError):
        lowrank.decode(save(parts), LAYOUT)


@given(data=st.binary(max_size=200), cut=st.integers(0, 300), at=st.integers(0, 300), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_any_bytes_decode_or_are_refused(data: bytes, cut: int, at: int, bit: int) -> None:
    whole = bytearray(lowrank.encode({"w": torch.ones(6, 5), "x": torch.arange(4.0)}, 0.01))
    spoilt = whole.copy()
    spoilt[at % len(spoilt)] ^= 1 << bit
    for payload in (data, bytes(whole[: cut % len(whole)]), bytes(spoilt), bytes(whole) + data):
        try:
            decoded = lowrank.decode(payload, LAYOUT)
        except PayloadError:
            continue
        assert Layout.of(decoded) == LAYOUT


def test_a_payload_larger_than_the_model_is_not_parsed() -> None:
    with pytest.raises(PayloadError, match="larger"):
        lowrank.decode(bytes(lowrank.max_bytes(LAYOUT) + 1), LAYOUT)
