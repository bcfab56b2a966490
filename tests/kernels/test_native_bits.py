"""The native backend gives the reference's bits, in every instruction set, with any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from cuda_cases import same
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kit import ALL, INSTRUCTIONS, REFERENCE, Tensors, agree, copied

from collab.kernels import Codec, Layout, NonFiniteError, decompress
from collab.kernels.native import Native

Make = Callable[..., Tensors]

KINDS = ("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge", "bits")
CODECS = (
    Codec(k=64),
    Codec(k=16, value_bits=1),
    Codec(k=144, value_bits=3, dense_below=200),
    Codec(k=512, value_bits=8),
    Codec("fp16"),
)
LONG: dict[str, tuple[int, ...]] = {"a": (40, 4096), "b": (9999,), "c": (3,), "d": (0,), "e": (5 * 4096 + 1,)}


def of_set(instructions: str) -> Native:
    return Native(instructions=instructions)


@pytest.fixture(params=ALL, scope="module")
def native(request: pytest.FixtureRequest) -> Native:
    return of_set(request.param)


def tame(tensors: Tensors) -> Tensors:
    """Small enough that sums are finite."""
    return {name: tensor * 0.25 for name, tensor in tensors.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codec", CODECS)
def test_every_kind_of_value(native: Native, make: Make, kind: str, codec: Codec) -> None:
    delta, residual = tame(make(1, kind)), tame(make(2, kind))
    agree(native, delta, residual, codec, tame(make(3, "heavy")))
    agree(native, delta, None, codec)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("k", [32, 48, 96, 240, 384, 496])
def test_every_number_of_bits(native: Native, make: Make, k: int, bits: int) -> None:
    agree(native, make(k, "heavy"), make(bits), Codec(k=k, value_bits=bits))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
@pytest.mark.parametrize("instructions", ALL)
def test_threads_change_nothing(make: Make, instructions: str, threads: int) -> None:
    native = Native(threads=threads, instructions=instructions)
    for codec in (Codec(k=128), Codec("fp16"), Codec(k=128, tensors=(("b", 0),))):
        agree(native, make(1, "heavy", LONG), make(2, "normal", LONG), codec)


@pytest.mark.skipif(not INSTRUCTIONS, reason="the native library was not built")
@pytest.mark.parametrize("first", range(1, 4098, 512))
def test_tails_of_every_size(make: Make, first: int) -> None:
    shapes = {f"t{size:04d}": (size,) for size in range(first, min(first + 512, 4098))}
    k, bits = (16, 2) if first % 1024 == 1 else (512, 4)
    delta = make(first, "ties" if first % 1536 == 1 else "heavy", shapes)
    codec, layout = Codec(k=k, value_bits=bits, dense_below=first + 20), Layout.of(delta)
    payload, left = REFERENCE.compress(delta, None, codec, layout, None)
    decoded = decompress(payload, layout, backend=REFERENCE)
    for native in map(of_set, INSTRUCTIONS):
        found, found_left = native.compress(delta, None, codec, layout, None)
        assert found == payload
        same(found_left, left)
        same(decompress(payload, layout, backend=native), decoded)
        into = layout.zeros()
        native.accumulate(into, [(payload, 1.0)], layout)
        same(into, decoded)


def test_bfloat16_deltas(native: Native, make: Make) -> None:
    delta = {name: tensor.bfloat16() for name, tensor in make(5, "heavy", LONG).items()}
    delta["e"] = delta["e"].float()
    for codec in (Codec(k=96, value_bits=4), Codec("fp16"), Codec(dense_below=1 << 20)):
        agree(native, delta, make(6, "heavy", LONG), codec)
        agree(native, delta, None, codec)


def test_neighbours_that_have_nothing_in_common(native: Native) -> None:
    """A guess from the chunk before is of no use: too high, too low, among thousands of ties, or of no chunk at all."""
    generator = torch.Generator().manual_seed(1)
    chunks = torch.randn(64, 4096, generator=generator)
    chunks *= 10.0 ** torch.randint(-30, 30, (64, 1), generator=generator)
    chunks[::7] = 0
    chunks[3::7] = -2.5
    chunks[5::7].sign_()
    chunks[6::7, 50:] = 0
    for k, bits in ((64, 2), (512, 1)):
        agree(native, {"w": chunks}, {"w": chunks.flip(0) * 0.5}, Codec(k=k, value_bits=bits))


def test_error_feedback_over_many_rounds(native: Native, make: Make) -> None:
    codec, layout = Codec(k=64), Layout.of(make(0, "normal", LONG))
    ours, theirs = layout.zeros(), layout.zeros()
    for seed in range(8):
        delta = make(seed % 3, "normal", LONG)
        found, _ = native.compress(delta, ours, codec, layout, ours)
        expected, theirs = REFERENCE.compress(delta, theirs, codec, layout, None)
        assert found == expected
    same(ours, theirs)


def test_views_that_are_not_contiguous(native: Native, make: Make) -> None:
    base = make(4, "heavy", {"w": (65, 130)})["w"]
    views = {"a": base.t(), "b": base[1:, 1:], "c": base[::2]}
    kept = copied(views)
    agree(native, views, {name: view.flip(0) for name, view in views.items()}, Codec(k=64))
    same(copied(views), kept)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("codec", [Codec(k=64), Codec("fp16"), Codec(dense_below=1 << 30)])
def test_what_is_not_finite_is_refused(native: Native, make: Make, codec: Codec, bad: float) -> None:
    layout = Layout.of(make(0))
    for name, shape in layout.tensors:
        for at in {0, np.prod(shape, dtype=int) // 2, np.prod(shape, dtype=int) - 1} if np.prod(shape) else ():
            delta, residual = make(1), make(2)
            delta[name].view(-1)[at] = bad
            before = copied(delta), copied(residual)
            for other in (residual, None):
                with pytest.raises(NonFiniteError):
                    native.compress(delta, other, codec, layout, None)
            same(delta, before[0])
            same(residual, before[1])


def test_sums_that_overflow_are_refused(native: Native) -> None:
    large = {"w": torch.full((10,), 3e38)}
    with pytest.raises(NonFiniteError):
        native.compress(large, large, Codec(), Layout.of(large), None)


def test_every_half(native: Native) -> None:
    halves = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(torch.float16)
    finite = halves[halves.isfinite()].float()
    bits = finite.view(torch.int32)
    step = 1 << 12  # half of the last bit of a normal half
    around = torch.cat([bits + shift for shift in (-step - 1, -step, 1 - step, -1, 0, 1, step - 1, step, step + 1)])
    values = around.view(torch.float32)
    denormal = torch.linspace(-2e-7, 2e-7, 10_001)
    for part in (finite, values[values.isfinite()], denormal, torch.tensor([65504.0, 65519.99, 65520.0, 1e30, -0.0])):
        agree(native, {"w": part}, None, Codec("fp16"))


def test_payloads_of_different_kinds_are_added_in_order(native: Native, make: Make) -> None:
    layout = Layout.of(make(0, "normal", LONG))
    codecs = (Codec(k=64), Codec("fp16"), Codec(k=512, value_bits=5), Codec(k=16, dense_below=1 << 30), Codec("fp16"))
    payloads = [REFERENCE.compress(make(i, "heavy", LONG), None, codec, layout, None)[0] for i, codec in enumerate(codecs)]
    for parts in ([], [(payload, 0.1 * i - 0.2) for i, payload in enumerate(payloads * 3)]):
        into, expected = make(9, "heavy", LONG), make(9, "heavy", LONG)
        native.accumulate(into, parts, layout)
        REFERENCE.accumulate(expected, parts, layout)
        same(into, expected)


@pytest.fixture
def flushed() -> Iterator[None]:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("flushed")
def test_a_caller_who_flushes_denormals_gets_the_same_bits(native: Native, make: Make) -> None:
    torch.set_flush_denormal(False)
    delta, codec = make(3, "denormal"), Codec(k=64)
    layout = Layout.of(delta)
    expected = REFERENCE.compress(delta, delta, codec, layout, None)
    torch.set_flush_denormal(True)
    found = native.compress(delta, delta, codec, layout, None)
    torch.set_flush_denormal(False)
    assert found[0] == expected[0]
    same(found[1], expected[1])


@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=300),
    repeat=st.integers(1, 40),
    k=st.integers(1, 32),
    bits=st.integers(1, 8),
    decay=st.floats(0, 1, width=32),
    dense=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_values(native: Native, values: list[float], repeat: int, k: int, bits: int, decay: float, dense: bool) -> None:
    tensor = torch.tensor(values, dtype=torch.float32).repeat(repeat) * 0.25
    codec = Codec(k=16 * k, value_bits=bits, decay=decay, dense_below=(1 << 20) * dense)
    agree(native, {"w": tensor}, {"w": tensor.flip(0)}, codec)
