"""Gram matrices as bytes: close, positive semidefinite whatever the bytes say, and strict."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from collab.kernels import Layout, NonFiniteError, PayloadError
from collab.kernels.grams import MOST_INPUTS, decode, encode, max_bytes

LAYOUT = Layout((("bias", (9,)), ("first", (3, 6)), ("second", (2, 9))))


def gram(seed: int, rows: int, size: int, scale: float = 1.0) -> torch.Tensor:
    inputs = scale * torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))
    return inputs.T @ inputs / rows


@given(seed=st.integers(0, 1 << 20), rows=st.integers(1, 40), scale=st.sampled_from((1e-12, 1e-3, 1.0, 1e12)))
@settings(max_examples=25)
def test_what_was_measured_comes_back(seed: int, rows: int, scale: float) -> None:
    """To a thousandth of the largest value, also of fewer samples than inputs."""
    grams = {"first": gram(seed, rows, 6, scale), "second": gram(seed + 1, rows, 9, scale)}
    payload = encode(grams)
    assert len(payload) <= max_bytes(LAYOUT)
    decoded = decode(payload, LAYOUT)
    assert list(decoded) == ["first", "second"]
    for name, matrix in decoded.items():
        assert torch.equal(matrix, matrix.T)
        assert float((matrix - grams[name]).abs().max()) <= 2e-3 * float(grams[name].abs().max())


def test_inputs_that_were_always_zero() -> None:
    assert torch.equal(decode(encode({"first": torch.zeros(6, 6)}), LAYOUT)["first"], torch.zeros(6, 6))
    with pytest.raises(NonFiniteError, match="'first'"):
        encode({"first": torch.full((6, 6), float("nan"))})


@given(
    values=st.lists(st.floats(-60000, 60000, width=16), min_size=21, max_size=21),
    scale=st.sampled_from((0.0, 1e-20, 1.0, 1e20)),
)
@settings(max_examples=40)
def test_whatever_is_claimed_is_positive_semidefinite(values: list[float], scale: float) -> None:
    parts = {"l/first": torch.tensor(values).half(), "s/first": torch.tensor([scale])}
    matrix = decode(save(parts), LAYOUT)["first"].double()
    assert torch.equal(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix).min()) >= -1e-6 * float(matrix.abs().max())


def test_what_is_no_gram_matrix_is_refused() -> None:
    parts = load(encode({"first": gram(1, 20, 6)}))
    lower, scale = parts["l/first"], parts["s/first"]
    wrong: dict[str, dict[str, torch.Tensor]] = {
        "no part of a Gram matrix": {"l/third": lower, "s/third": scale},
        "'s/second' is no part": {**parts, "s/second": scale.clone()},
        "not of halves": {"l/first": lower},
        "with a float32 scale": {"l/first": lower.float(), "s/first": scale},
        "does not fit a layer of 6": {"l/first": lower[:-1], "s/first": scale},
        "finite and non-negative": {"l/first": lower, "s/first": -scale},
        "not finite": {"l/first": torch.full((21,), 60000.0).half(), "s/first": torch.tensor([3e38])},
    }
    for problem, tensors in wrong.items():
        with pytest.raises(PayloadError, match=problem):
            decode(save(tensors), LAYOUT)
    with pytest.raises(PayloadError, match="no part"):
        decode(save({"l/bias": lower, "s/bias": scale}), LAYOUT)
    with pytest.raises(PayloadError, match="more than this model has"):
        decode(bytes(max_bytes(LAYOUT) + 1), LAYOUT)
    wide = Layout((("wide", (1, MOST_INPUTS + 1)),))
    with pytest.raises(PayloadError, match="no part"):
        decode(save({"l/wide": torch.zeros(4).half(), "s/wide": scale}), wide)


@given(data=st.binary(max_size=200))
@settings(max_examples=50)
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    with suppress(PayloadError):
        decode(data, LAYOUT)
