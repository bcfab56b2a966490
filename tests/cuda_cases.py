"""What the CUDA backend is compared with the reference on, emulated or on a device: every case bit for bit."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from collab.kernels import Codec, Layout, NonFiniteError, PayloadError, wire
from collab.kernels.cuda import Cuda
from collab.kernels.cuda.merge import fisher as merge_on_device
from collab.kernels.merge import Contribution, Policy
from collab.kernels.merge.fisher import fisher
from collab.kernels.reference import Reference
from collab.kernels.seam import Entries

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Tensors]

REFERENCE = Reference()

_SIZES = (*range(1, 18), 31, 32, 33, 63, 65, 127, 129, 255, 1000, 4095)
TAILS: dict[str, tuple[int, ...]] = {f"t{size:04d}": (size,) for size in _SIZES}
SMALL: dict[str, tuple[int, ...]] = {"a": (2, 4096), "b": (1500,), "c": ()}


@dataclass(frozen=True)
class Case:
    """Values of a kind (tests/kernels/conftest.py, or `clustered`) in tensors of `shapes` (None: awkward ones); their codec."""

    kind: str
    codec: Codec
    shapes: dict[str, tuple[int, ...]] | None = None
    bf16: bool = False
    feedback: bool = True

    @property
    def label(self) -> str:
        size = {id(None): "shapes", id(TAILS): "tails", id(SMALL): "small"}[id(self.shapes)]
        extra = "-bf16" * self.bf16 + "-first" * (not self.feedback) + "-dense" * bool(self.codec.dense_below)
        return f"{self.kind}-{size}-k{self.codec.k}-{self.codec.value_bits}bit{extra}"


def _cases() -> list[Case]:
    kinds = ("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge", "bits", "clustered")
    codecs = (Codec(k=64), Codec(k=256, value_bits=3), Codec(k=512, value_bits=1))
    cases = [Case(kind, codec) for kind, codec in itertools.product(kinds, codecs)]
    cases += [Case("heavy", Codec(k=k, value_bits=2), SMALL) for k in (16, 48, 112, 128, 144, 240, 272, 352, 368, 496)]
    cases += [Case("heavy", Codec(k=128, value_bits=bits), SMALL) for bits in range(1, 9)]
    cases += [Case(kind, Codec(k=k), TAILS) for kind, k in itertools.product(("heavy", "ties", "zeros"), (16, 128, 512))]
    cases += [Case(kind, Codec(dense_below=4097), feedback=False) for kind in ("heavy", "zeros", "denormal", "bits")]
    cases += [Case(kind, Codec(value_bits=4), bf16=True) for kind in ("normal", "ties", "denormal")]
    cases += [Case("normal", Codec(tensors=(("e*", 512), ("f*", 0), ("g*", 16)), decay=1.0)), Case("normal", Codec("fp16"))]
    return cases


CASES = {case.label: case for case in _cases()}


def values(case: Case, make: Make, seed: int) -> Tensors:
    """The case's values, on the CPU. Clustered ones are large in so few cells that the bound of the threshold is useless."""
    if case.kind != "clustered":
        return make(seed, case.kind, case.shapes)
    tensors = make(seed, "normal", case.shapes)
    for tensor in tensors.values():
        flat = tensor.view(-1)
        position = torch.arange(flat.numel()) % 4096
        flat[position < 2044 if case.codec.k > 256 else position % 1024 < 2 * case.codec.k] *= 1000
    return tensors


def compare(cuda: Cuda, case: Case, make: Make) -> None:
    """Payload, residual, entries and accumulated result are the reference's."""
    delta, residual = values(case, make, 1), values(case, make, 2) if case.feedback else None
    if case.kind == "huge":
        delta, residual = scaled(delta, 0.25), residual and scaled(residual, 0.25)
    if case.bf16:
        delta = {name: tensor.bfloat16() for name, tensor in delta.items()}
    layout = Layout.of(delta, torch.float32, torch.bfloat16)
    try:
        payload, left = REFERENCE.compress(delta, residual, case.codec, layout, None)
    except NonFiniteError:
        assert case.kind == "bits"
        delta, residual = scaled(delta, 1e-3), residual and scaled(residual, 1e-3)
        payload, left = REFERENCE.compress(delta, residual, case.codec, layout, None)
    there = here = on(cuda, delta), residual and on(cuda, residual)
    out = there[1] or {name: torch.full(shape, torch.nan, device=cuda.device) for name, shape in layout.tensors}
    found, found_left = cuda.compress(*here, case.codec, layout, out)
    assert found == payload
    assert found_left is out
    same(out, left)
    assert cuda.compress(on(cuda, delta), residual and on(cuda, residual), case.codec, layout, None)[0] == payload
    same_entries(cuda.entries(payload, layout), REFERENCE.entries(payload, layout))
    start = {name: tensor.float() for name, tensor in delta.items()}
    into, expected_into = on(cuda, start), {name: tensor.clone() for name, tensor in start.items()}
    parts = [(payload, 0.3), (payload, -1.7), (payload, 1e-3)]
    cuda.accumulate(into, parts, layout)
    REFERENCE.accumulate(expected_into, parts, layout)
    same(into, expected_into)


def compare_merge(cuda: Cuda, make: Make) -> None:
    """The Fisher-weighted merge's coordinates are those of kernels/merge/fisher.py."""
    layout = Layout.of(make(0))
    contributions = []
    for seed in range(5):
        delta = make(seed, "heavy")
        codec = Codec(k=512, value_bits=seed + 1, dense_below=4)
        patch, _ = REFERENCE.compress(delta, None, codec, layout, None)
        square = {name: tensor.square() * (seed != 3) for name, tensor in delta.items()}
        payload = None if seed == 2 else REFERENCE.compress_on_support(square, patch, 8 if seed % 2 else 4, layout)
        contributions.append(Contribution(patch, 0.0 if seed == 4 else 0.22, 0.7, payload))
    for policy in (Policy(0.25, 0.1), Policy(1.0, 0.0)):
        same(merge_on_device(layout, contributions, policy, cuda), fisher(layout, contributions, policy, REFERENCE))


def compare_squares(cuda: Cuda, make: Make) -> None:
    """F += g², of float32 and of bfloat16 gradients."""
    for dtype in (torch.float32, torch.bfloat16):
        diagonal = {name: tensor.abs() for name, tensor in make(1, "heavy").items()}
        gradient = {name: tensor.to(dtype) for name, tensor in make(2, "heavy").items()}
        expected = {name: diagonal[name] + gradient[name].float() * gradient[name].float() for name in diagonal}
        found = on(cuda, diagonal)
        cuda.accumulate_squares(found, on(cuda, gradient))
        same(found, expected)


def compare_strided(cuda: Cuda) -> None:
    """What is compressed need not be contiguous."""
    delta = {"w": torch.randn(80, 70).t()}
    expected, left = REFERENCE.compress(delta, delta, Codec(), Layout.of(delta), None)
    there = {"w": delta["w"].t().to(cuda.device).t()}
    payload, found = cuda.compress(there, there, Codec(), Layout.of(delta), None)
    assert payload == expected
    same(found, left)


def compare_order(cuda: Cuda, make: Make) -> None:
    """Payloads of both kinds are added in order, and none of them if one is damaged."""
    delta = make(1)
    layout = Layout.of(delta)
    codecs = (Codec(), Codec("fp16"), Codec(k=512, value_bits=5), Codec(value_bits=1), Codec("fp16"))
    parts = [(REFERENCE.compress(delta, None, codec, layout, None)[0], 0.1 * i - 0.2) for i, codec in enumerate(codecs)]
    into, expected = on(cuda, make(3)), make(3)
    cuda.accumulate(into, parts, layout)
    REFERENCE.accumulate(expected, parts, layout)
    same(into, expected)
    damaged = bytearray(parts[0][0])
    damaged[-1] ^= 1
    for broken in (bytes(damaged), parts[0][0][:-1], parts[1][0][:-2], b""):
        with pytest.raises(PayloadError):
            cuda.accumulate(into, [*parts, (broken, 1.0)], layout)
    same(into, expected)


def compare_checks(cuda: Cuda, make: Make, trials: int) -> None:
    """Bits turned over at random, with a right checksum: both decode to the same, or both refuse."""
    chance = random.Random(7)
    delta = make(1, "heavy", SMALL)
    delta["b"][:] = 0
    layout = Layout.of(delta)
    refused = 0
    for trial in range(trials):
        codec = Codec(k=(16, 128, 512)[trial % 3], value_bits=trial % 8 + 1, dense_below=trial % 2)
        payload = bytearray(REFERENCE.compress(delta, None, codec, layout, None)[0])
        at = chance.randrange(wire.HEADER_BYTES + len(layout.tensors), len(payload))
        payload[at] ^= 1 << chance.randrange(8)
        payload[8:12] = bytes(4)  # the checksum
        sealed = wire.seal(payload)
        try:
            expected = REFERENCE.entries(sealed, layout)
        except PayloadError:
            refused += 1
            with pytest.raises(PayloadError):
                cuda.entries(sealed, layout)
            continue
        same_entries(cuda.entries(sealed, layout), expected)
    assert trials // 10 < refused < trials - trials // 10


def on(cuda: Cuda, tensors: Tensors) -> Tensors:
    """Copies on the backend's device."""
    return {name: tensor.to(cuda.device, copy=True) for name, tensor in tensors.items()}


def scaled(tensors: Tensors, factor: float) -> Tensors:
    return {name: tensor * factor for name, tensor in tensors.items()}


def same_entries(found: dict[str, Entries], expected: dict[str, Entries]) -> None:
    """The same positions and float32 bits."""
    same({name: each.values for name, each in found.items()}, {name: each.values for name, each in expected.items()})
    for name, each in expected.items():
        index = found[name].index
        assert index is each.index is None or (index is not None and each.index is not None and torch.equal(index, each.index))


def same(found: Tensors, expected: Tensors) -> None:
    """The same float32 bits."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        here, there = found[name].cpu().reshape(-1), tensor.reshape(-1)
        different = torch.nonzero(here.view(torch.int32) != there.view(torch.int32)).view(-1)
        first = int(different[0]) if len(different) else 0
        what = f"{name!r}: {len(different)} of {len(there)} differ, first at {first}: "
        assert not len(different), what + f"{float(here[first]).hex()}, not {float(there[first]).hex()}"
