"""The native codec gives the reference's bits, with every instruction set of this machine and any number of threads."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout, NonFiniteError, PayloadError, wire
from collab.kernels.native import LibraryError, Native
from collab.kernels.reference import Reference

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Tensors]

KINDS = ("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge", "bits")
REFERENCE = Reference()


def variants() -> list[Native]:
    try:
        best = Native()
    except LibraryError:
        return []
    sets = best._library.instructions
    return [Native(instructions=name, threads=threads) for name in sets for threads in (1, 2, 3)]


VARIANTS = variants()
pytestmark = pytest.mark.skipif(not VARIANTS, reason="the native library was not built: no compiler")

codecs = st.one_of(
    st.builds(
        Codec, st.just("sparse"), st.sampled_from((16, 64, 112, 256, 512)), st.integers(1, 8),
        dense_below=st.sampled_from((0, 200)), tensors=st.sampled_from(((), (("f.*", 0),), (("e.*", 512),))),
    ),
    st.just(Codec("fp16")),
)  # fmt: skip


def same(one: Tensors, other: Tensors) -> bool:
    return all(torch.equal(one[name].view(torch.int32), other[name].view(torch.int32)) for name in one)


@given(codec=codecs, kind=st.sampled_from(KINDS), seed=st.integers(0, 1 << 20), feedback=st.booleans(), half=st.booleans())
@settings(max_examples=60)
def test_payload_residual_and_result_are_the_references(
    make: Make, codec: Codec, kind: str, seed: int, feedback: bool, half: bool
) -> None:
    delta: Tensors = {name: t.bfloat16() if half else t for name, t in make(seed, kind).items()}
    delta = {name: torch.where(t.isfinite(), t, 0) for name, t in delta.items()}
    residual = make(seed + 1, "normal") if feedback else None
    layout = Layout.of(make(seed, kind))
    payload, left = REFERENCE.compress(delta, residual, codec, layout, None)
    other, _ = REFERENCE.compress(make(seed + 2, "heavy"), None, codec, layout, None)
    parts = [(payload, 0.3), (other, -1.7), (payload, 1.0)]
    added = make(seed + 3)
    REFERENCE.accumulate(added, parts, layout)
    entries = REFERENCE.entries(payload, layout)
    for native in VARIANTS:
        into = {name: t.clone() for name, t in residual.items()} if residual else layout.empty()
        assert native.compress(delta, into if residual else None, codec, layout, into)[0] == payload
        assert same(into, left)
        total = make(seed + 3)
        native.accumulate(total, parts, layout)
        assert same(total, added)
        for name, found in native.entries(payload, layout).items():
            assert torch.equal(found.values.view(torch.int32), entries[name].values.view(torch.int32))
            assert (found.index is None) == (entries[name].index is None)
            assert found.index is None or torch.equal(found.index, entries[name].index)  # type: ignore[arg-type]


@pytest.mark.parametrize("density", [16, 256, 512])
def test_tails_of_every_size(make: Make, density: int) -> None:
    codec = Codec("sparse", density, 2)
    sizes = [*range(1, 300), *range(301, 4098, 97), 4095, 4096, 4097]
    delta = make(density, "heavy", {f"{size:04}": (size,) for size in sizes})
    layout = Layout.of(delta)
    payload, left = REFERENCE.compress(delta, None, codec, layout, None)
    for native in VARIANTS:
        found, remaining = native.compress(delta, None, codec, layout, None)
        assert found == payload
        assert same(remaining, left)


@given(codec=codecs, seed=st.integers(0, 1 << 20), at=st.integers(0, 1 << 20), mask=st.integers(1, 255), cut=st.integers(0, 3))
@settings(max_examples=150)
def test_damaged_payloads_have_the_same_fate(make: Make, codec: Codec, seed: int, at: int, mask: int, cut: int) -> None:
    shapes = {"a": (40,), "b": (2, 3), "c": (0,), "d": (), "f.x": (4100,)}
    delta = make(seed, "heavy", shapes)
    layout = Layout.of(delta)
    damaged = bytearray(REFERENCE.compress(delta, None, codec, layout, None)[0])
    damaged[64 + at % (len(damaged) - 64)] ^= mask
    payload = wire.seal(damaged[: len(damaged) - cut])
    try:
        expected = {name: part.values for name, part in REFERENCE.entries(payload, layout).items()}
    except PayloadError:
        into = layout.zeros()
        for native in VARIANTS:
            with pytest.raises(PayloadError):
                native.entries(payload, layout)
            with pytest.raises(PayloadError):
                native.accumulate(into, [(payload, 1.0)], layout)
        assert same(into, layout.zeros())
    else:
        for native in VARIANTS:
            assert same({name: part.values for name, part in native.entries(payload, layout).items()}, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("codec", [Codec(), Codec("sparse", tensors=(("*", 0),)), Codec("fp16")])
def test_nothing_that_is_not_finite_is_sent(make: Make, codec: Codec, bad: float) -> None:
    delta = make(1)
    delta["f.tail"][1, 4099] = bad
    for native in VARIANTS:
        with pytest.raises(NonFiniteError):
            native.compress(delta, None, codec, Layout.of(delta), None)


def test_without_a_library_the_reference_does_the_work(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def missing() -> None:
        raise LibraryError("it was not built")

    monkeypatch.setattr("collab.kernels.native.find", missing)
    kernels.entry._loaded.cache_clear()
    try:
        assert kernels.backends() == ["reference"]
        assert kernels.backend().name == "reference"
        assert [record.getMessage() for record in caplog.records] == [
            "the codec's library is not used, compression will be slow: it was not built"
        ]
    finally:
        kernels.entry._loaded.cache_clear()
