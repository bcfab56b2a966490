"""Fisher diagonals on the support of a patch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout, NonFiniteError, PayloadError, wire
from collab.kernels.fisher import accumulate

Make = Callable[..., dict[str, torch.Tensor]]

SMALLEST = torch.finfo(torch.float32).tiny
CODECS = (Codec("sparse", 128, 2), Codec("sparse", 512, 4, dense_below=10), Codec("fp16"))
SMALL = {"a": (40,), "b": (2, 3), "c": (0,), "d": ()}


def squares(make: Make, seed: int, kind: str = "normal") -> dict[str, torch.Tensor]:
    return {name: tensor.abs() for name, tensor in make(seed, kind).items()}


@given(
    codec=st.sampled_from(CODECS),
    bits=st.sampled_from((4, 8)),
    kind=st.sampled_from(("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge")),
    seed=st.integers(0, 1 << 20),
)
@settings(max_examples=40)
def test_values_on_the_support_come_back_close(make: Make, codec: Codec, bits: int, kind: str, seed: int) -> None:
    values, delta = squares(make, seed, kind), make(seed + 1)
    layout = Layout.of(delta)
    patch, _ = kernels.compress(delta, None, codec)
    payload = kernels.compress_on_support(values, patch, bits=bits)
    assert len(payload) == kernels.max_support_bytes(layout, codec, bits=bits)
    decoded = kernels.decompress_on_support(payload, patch, layout)
    steps = (1 << bits) - 1
    for name, entries in kernels.backend().entries(patch, layout).items():
        on, expected = entries.gather(decoded[name]), entries.gather(values[name].contiguous())
        assert bool((on >= 0).all())
        largest = float(expected.max()) if expected.numel() else 0.0
        furthest = largest**0.5 * (0.51 / steps + 0.01) + SMALLEST**0.5  # half a step, the scale's rounding, denormals
        assert bool(((on.double().sqrt() - expected.double().sqrt()).abs() <= furthest).all())
        if entries.index is not None:
            off = torch.ones(decoded[name].numel(), dtype=torch.bool)
            off[entries.index] = False
            assert not bool(decoded[name].reshape(-1)[off].any())


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_no_fisher_cannot_be_encoded(make: Make, codec: Codec) -> None:
    delta, values = make(1), squares(make, 2)
    patch, _ = kernels.compress(delta, None, codec)
    for bad, error in ((float("nan"), NonFiniteError), (float("inf"), NonFiniteError), (-1e-9, PayloadError)):
        values["b.scalar"] = torch.tensor(bad)
        with pytest.raises(error):
            kernels.compress_on_support(values, patch)
    with pytest.raises(ValueError, match="4 or 8"):
        kernels.compress_on_support(values, patch, bits=5)


@given(at=st.integers(0, 10_000), mask=st.integers(1, 255), codec=st.sampled_from(CODECS))
@settings(max_examples=200)
def test_flipped_bits_decode_to_a_fisher_or_are_refused(make: Make, at: int, mask: int, codec: Codec) -> None:
    delta = make(3, "heavy", SMALL)
    patch, _ = kernels.compress(delta, None, codec)
    damaged = bytearray(kernels.compress_on_support({name: t.abs() for name, t in delta.items()}, patch))
    damaged[at % len(damaged)] ^= mask
    with pytest.raises(PayloadError):
        kernels.decompress_on_support(damaged, patch, Layout.of(delta))
    try:
        decoded = kernels.decompress_on_support(wire.seal(damaged), patch, Layout.of(delta))
    except PayloadError:
        return
    assert all(bool(torch.isfinite(t).all()) and not bool((t < 0).any()) for t in decoded.values())


@given(data=st.binary(max_size=160))
@settings(max_examples=100)
def test_random_bytes_are_refused(make: Make, data: bytes) -> None:
    delta = make(3, "heavy", SMALL)
    patch, _ = kernels.compress(delta, None, Codec())
    with pytest.raises(PayloadError):
        kernels.decompress_on_support(data, patch, Layout.of(delta))
    with pytest.raises(PayloadError):
        kernels.decompress_on_support(wire.seal(bytearray(patch[:5] + b"\3" + patch[6:64] + data)), patch, Layout.of(delta))


def test_scale_and_codes_are_checked(make: Make) -> None:
    delta = {"w": torch.ones(3)}
    patch, _ = kernels.compress(delta, None, Codec("fp16"))
    payload, layout = bytearray(kernels.compress_on_support(delta, patch)), Layout.of(delta)
    assert payload[64:].hex() == "803fff0f"
    for body in ("807fff0f", "80bfff0f", "0100ff0f", "0000ff0f", "803fff1f", "803fff", "803fff0f00"):
        with pytest.raises(PayloadError):
            kernels.decompress_on_support(wire.seal(payload[:64] + bytes.fromhex(body)), patch, layout)


def test_a_fisher_belongs_to_one_patch(make: Make) -> None:
    delta, other = make(1), make(2)
    layout = Layout.of(delta)
    patch, another = (kernels.compress(tensors, None, Codec())[0] for tensors in (delta, other))
    payload = kernels.compress_on_support(squares(make, 3), patch)
    with pytest.raises(PayloadError, match="another patch"):
        kernels.decompress_on_support(payload, another, layout)
    with pytest.raises(PayloadError, match="no patch"):
        kernels.decompress(payload, layout)
    with pytest.raises(PayloadError, match="is a patch"):
        kernels.decompress_on_support(patch, patch, layout)
    with pytest.raises(PayloadError):
        kernels.compress_on_support(squares(make, 3), payload)
    with pytest.raises(PayloadError):
        kernels.compress_on_support(squares(make, 3), patch[:-1])


def test_accumulate_adds_squares(make: Make) -> None:
    diagonal, gradients = make(1), make(2)
    before = {name: tensor.clone() for name, tensor in diagonal.items()}
    accumulate(diagonal, gradients)
    for name, gradient in gradients.items():
        assert torch.equal(diagonal[name], before[name] + gradient * gradient)
    with pytest.raises(ValueError, match="gradient"):
        accumulate(diagonal, {"w": torch.zeros(1)})
