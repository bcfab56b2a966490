"""What encoding and decoding promise: the right coordinates, close values, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout, NonFiniteError

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Tensors]

KINDS = ("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge", "bits")
codecs = st.builds(Codec, st.just("sparse"), st.sampled_from((16, 96, 128, 256, 512)), st.integers(1, 8))
inputs = st.tuples(st.sampled_from(KINDS), st.integers(0, 1 << 20))


def bits(tensors: Tensors) -> dict[str, list[int]]:
    return {name: tensor.reshape(-1).view(torch.int32).tolist() for name, tensor in tensors.items()}


def total(delta: Tensors, residual: Tensors | None, decay: float) -> Tensors:
    if residual is None:
        return delta
    return {name: torch.tensor(decay) * residual[name] + delta[name] for name in delta}


@given(codec=codecs, first=inputs, with_residual=st.booleans())
@settings(max_examples=60)
def test_residual_is_exactly_what_the_payload_leaves_out(
    make: Make, codec: Codec, first: tuple[str, int], with_residual: bool
) -> None:
    kind, seed = first
    delta, residual = make(seed, kind), make(seed + 1, "normal") if with_residual else None
    before = bits(delta), bits(residual or {})
    payload, left = kernels.compress(delta, residual, codec)
    decoded = kernels.decompress(payload, Layout.of(delta))
    expected = {name: value - decoded[name] for name, value in total(delta, residual, codec.decay).items()}
    assert bits(left) == bits(expected)
    assert before == (bits(delta), bits(residual or {})), "the arguments were changed"
    assert len(payload) <= kernels.max_payload_bytes(Layout.of(delta), codec)


@given(codec=codecs, first=inputs)
@settings(max_examples=40)
def test_the_largest_magnitudes_are_kept_ties_to_the_lower_index(
    make: Make, codec: Codec, first: tuple[str, int]
) -> None:
    kind, seed = first
    delta = make(seed, kind)
    layout = Layout.of(delta)
    entries = kernels.backend().entries(kernels.compress(delta, None, codec)[0], layout)
    for name, tensor in delta.items():
        flat = tensor.reshape(-1)
        expected: list[int] = []
        for start in range(0, flat.numel(), 4096):
            keys = (flat[start : start + 4096].view(torch.int32) & 0x7FFFFFFF).tolist()
            kept = max(1, -(-codec.k * len(keys) // 4096))
            best = sorted(range(len(keys)), key=lambda at: (-keys[at], at))[:kept]
            expected += sorted(start + at for at in best)
        index = entries[name].index
        assert index is not None
        assert index.tolist() == expected


@given(value_bits=st.integers(1, 8), seed=st.integers(0, 1 << 20), kind=st.sampled_from(("normal", "heavy")))
@settings(max_examples=25)
def test_values_keep_their_sign_and_what_is_left_is_smaller(make: Make, value_bits: int, seed: int, kind: str) -> None:
    delta = make(seed, kind, {"w": (3, 4096)})
    payload, left = kernels.compress(delta, None, Codec("sparse", 128, value_bits))
    decoded = kernels.decompress(payload, Layout.of(delta))
    kept = decoded["w"] != 0
    assert int(kept.sum()) <= 3 * 128
    assert bool((decoded["w"][kept].sign() == delta["w"][kept].sign()).all())
    assert kernels.norm(left) < kernels.norm(delta)


def test_more_value_bits_leave_less(make: Make) -> None:
    delta = make(5, "heavy", {"w": (8, 4096)})
    left = [kernels.norm(kernels.compress(delta, None, Codec("sparse", 128, bits))[1]) for bits in range(1, 9)]
    assert left == sorted(left, reverse=True)


def test_error_feedback_delivers_everything_in_the_end(make: Make) -> None:
    delta = make(3, "normal", {"w": (4096,)})
    zero = {"w": torch.zeros(4096)}
    layout, codec = Layout.of(delta), Codec("sparse", 256, 3, decay=1.0)
    received = layout.zeros()
    payload, residual = kernels.compress(delta, None, codec)
    kernels.decompress_accumulate(received, [(payload, 1.0)])
    for _ in range(60):
        payload, residual = kernels.compress(zero, residual, codec)
        kernels.decompress_accumulate(received, [(payload, 1.0)])
    assert kernels.norm(residual) < 0.01 * kernels.norm(delta)
    torch.testing.assert_close(received["w"], delta["w"], atol=1e-4, rtol=0.0)


def test_the_residual_can_be_written_where_the_last_one_was(make: Make) -> None:
    delta, residual = make(1, "heavy"), make(2)
    payload, left = kernels.compress(delta, residual, Codec())
    into = {name: torch.empty_like(tensor) for name, tensor in delta.items()}
    assert kernels.compress(delta, residual, Codec(), out=into) == (payload, into)
    assert bits(into) == bits(left)
    in_place = {name: tensor.clone() for name, tensor in residual.items()}
    assert kernels.compress(delta, in_place, Codec(), out=in_place)[0] == payload
    assert bits(in_place) == bits(left)


def test_bfloat16_deltas_are_taken_as_they_are(make: Make) -> None:
    delta = {name: tensor.bfloat16() for name, tensor in make(1).items()}
    widened = {name: tensor.float() for name, tensor in delta.items()}
    for codec in (Codec(), Codec("fp16")):
        assert kernels.compress(delta, None, codec)[0] == kernels.compress(widened, None, codec)[0]


def test_densities_are_by_tensor(make: Make) -> None:
    layout = Layout.of(make(1))
    codec = Codec("sparse", 64, dense_below=130, tensors=(("f.*", 0), ("[dg].*", 256)))
    assert codec.densities(layout) == (0, 0, 0, 16, 4, 0, 16)
    payload, left = kernels.compress(make(1), None, codec)
    assert kernels.inspect(payload, layout).densities == (0, 0, 0, 16, 4, 0, 16)
    assert float(left["f.tail"].abs().max()) <= float(make(1)["f.tail"].abs().max()) / 127


def test_zeros_and_denormals_decode_to_positive_zeros(make: Make) -> None:
    for kind in ("zeros", "denormal"):
        delta = make(1, kind, {"w": (2, 4096)})
        decoded = kernels.decompress(kernels.compress(delta, None, Codec())[0], Layout.of(delta))
        assert not bool((decoded["w"].view(torch.int32) == -(1 << 31)).any())


def test_equal_values_come_back_exactly() -> None:
    delta = {"w": torch.full((5000,), -0.375)}
    decoded = kernels.decompress(kernels.compress(delta, None, Codec("sparse", 128, 3))[0], Layout.of(delta))
    assert set(decoded["w"].tolist()) == {0.0, -0.375}


@pytest.mark.parametrize("shapes", [{}, {"none": (0,)}, {"none": (4, 0), "one": ()}])
@pytest.mark.parametrize("kind", ["sparse", "fp16"])
def test_layouts_with_little_or_nothing_in_them(make: Make, shapes: dict[str, tuple[int, ...]], kind: str) -> None:
    delta = make(1, "equal", shapes)
    payload, left = kernels.compress(delta, None, Codec(kind))  # type: ignore[arg-type]
    decoded = kernels.decompress(payload, Layout.of(delta))
    assert bits(decoded) == bits(delta)
    assert kernels.norm(left) == 0


@pytest.mark.parametrize("kind", ["sparse", "fp16"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused(make: Make, kind: str, bad: float) -> None:
    delta = make(1)
    delta["f.tail"][1, 4099] = bad
    with pytest.raises(NonFiniteError, match="NaN"):
        kernels.compress(delta, None, Codec(kind))  # type: ignore[arg-type]


def test_a_total_that_overflows_is_refused() -> None:
    huge = {"w": torch.full((8,), 3e38)}
    with pytest.raises(NonFiniteError):
        kernels.compress(huge, huge, Codec())


@given(first=inputs)
@settings(max_examples=25)
def test_fp16_rounds_and_saturates(make: Make, first: tuple[str, int]) -> None:
    delta = make(first[1], first[0])
    payload, left = kernels.compress(delta, None, Codec("fp16"))
    decoded = kernels.decompress(payload, Layout.of(delta))
    for name, tensor in delta.items():
        expected = tensor.clamp(-65504, 65504).to(torch.float16).to(torch.float32)
        assert torch.equal(decoded[name], expected)
        assert torch.equal(left[name], tensor - expected)


def test_accumulate_multiplies_then_adds(make: Make) -> None:
    delta, base = make(1, "heavy"), make(2)
    into = {name: tensor.clone() for name, tensor in base.items()}
    payload, _ = kernels.compress(delta, None, Codec())
    other, _ = kernels.compress(make(3), None, Codec("fp16"))
    kernels.decompress_accumulate(into, [(payload, 0.3), (other, -2.0)])
    first, second = (kernels.decompress(each, Layout.of(base)) for each in (payload, other))
    for name, tensor in base.items():
        assert torch.equal(into[name], tensor + torch.tensor(0.3) * first[name] + torch.tensor(-2.0) * second[name])


def test_bytes_do_not_depend_on_threads_or_memory_order(make: Make) -> None:
    delta = make(9, "heavy", {"w": (300, 4096), "v": (64, 100)})
    strided = {name: tensor.t().contiguous().t() for name, tensor in delta.items()}
    before = torch.get_num_threads()
    payloads = set()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            payloads |= {kernels.compress(tensors, None, Codec())[0] for tensors in (delta, strided)}
    finally:
        torch.set_num_threads(before)
    assert len(payloads) == 1


def test_inspect_describes_what_decodes(make: Make) -> None:
    delta = make(4, "heavy")
    layout = Layout.of(delta)
    payload, _ = kernels.compress(delta, None, Codec("sparse", 64, 3))
    seen, decoded = kernels.inspect(payload, layout), kernels.decompress(payload, layout)
    assert (seen.kind, set(seen.densities), seen.value_bits, seen.payload_bytes) == ("sparse", {4}, 3, len(payload))
    assert seen.nonzeros == sum(int(tensor.count_nonzero()) for tensor in decoded.values())
    assert seen.norm == pytest.approx(kernels.norm(decoded), rel=1e-12)
    assert seen.bits_per_parameter == 8 * len(payload) / layout.numel()


def test_wrong_arguments_are_our_own_errors(make: Make) -> None:
    delta = make(1)
    with pytest.raises(ValueError, match="residual"):
        kernels.compress(delta, {"other": torch.zeros(3)}, Codec())
    with pytest.raises(TypeError, match="float32"):
        kernels.compress({"w": torch.zeros(3, dtype=torch.float64)}, None, Codec())
    with pytest.raises(ValueError, match="contiguous"):
        kernels.decompress_accumulate({"w": torch.zeros(4, 4).t()[:, :2]}, [])
    with pytest.raises(ValueError, match="contiguous"):
        kernels.compress(delta, None, Codec(), out=delta | {"f.tail": torch.zeros(4100, 2).t()})
    with pytest.raises(ValueError, match="what receives"):
        kernels.compress(delta, None, Codec(), out={})
    with pytest.raises(ValueError, match="weight"):
        kernels.decompress_accumulate(delta, [(b"", float("nan"))])
    with pytest.raises(ValueError, match="no backend"):
        kernels.backend("abacus")
    wrongs: list[dict[str, Any]] = [{"k": 100}, {"k": 0}, {"k": 1024}, {"value_bits": 9}, {"decay": 1.5}, {"kind": "zip"}]
    for wrong in [*wrongs, {"dense_below": -1}, {"tensors": (("*", 8),)}]:
        with pytest.raises(ValueError):
            Codec(**wrong)


def test_layout_is_sorted_and_strict() -> None:
    layout = Layout.of({"b": torch.zeros(2), "a": torch.zeros(1, 3)})
    assert layout.tensors == (("a", (1, 3)), ("b", (2,)))
    assert layout.numel() == 5
    assert len({layout.digest(), Layout((("a", (3, 1)), ("b", (2,)))).digest(), Layout(()).digest()}) == 3
    for wrong in ((("b", (1,)), ("a", (1,))), (("a", (1,)), ("a", (1,))), (("", (1,)),), (("a", (-1,)),), (("a", (1 << 41,)),)):
        with pytest.raises(ValueError):
            Layout(wrong)
