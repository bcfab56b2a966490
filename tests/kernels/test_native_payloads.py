"""Damaged and hostile payloads: the native decoder refuses what the reference refuses, and decodes the rest as it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from cuda_cases import same
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kit import ALL, REFERENCE, Tensors, same_verdict

from collab import kernels
from collab.kernels import Codec, Layout, PayloadError, wire
from collab.kernels.form import Form
from collab.kernels.native import Native

Make = Callable[..., Tensors]

SHAPES = {"a": (150,), "b": (2, 3), "c": (0,), "d": (), "e": (2,)}
CODECS = {
    "sparse": Codec(k=512, value_bits=3),
    "signs": Codec(k=512, value_bits=1),
    "wide": Codec(k=256, value_bits=8),
    "mixed": Codec(k=512, value_bits=2, tensors=(("b", 0), ("a", 64))),
    "dense": Codec(dense_below=1000),
    "fp16": Codec("fp16"),
}


@pytest.fixture(params=ALL, scope="module")
def native(request: pytest.FixtureRequest) -> Native:
    return Native(instructions=request.param)


@pytest.fixture(params=CODECS, scope="module")
def payload(request: pytest.FixtureRequest, make: Make) -> bytes:
    return REFERENCE.compress(make(7, "heavy", SHAPES), None, CODECS[request.param], layout_of(SHAPES), None)[0]


def layout_of(shapes: Mapping[str, tuple[int, ...]]) -> Layout:
    return Layout(tuple(sorted(shapes.items())))


def sealed(payload: bytes | bytearray) -> bytes:
    return wire.seal(bytearray(payload))


def test_every_byte_changed(native: Native, payload: bytes) -> None:
    layout, decoding = layout_of(SHAPES), 0
    for at in range(len(payload)):
        changed = bytearray(payload)
        for mask in (1 << at % 8, 0xFF, 0x81 if at % 2 else 0x18):
            changed[at] = payload[at] ^ mask
            decoding += same_verdict(native, sealed(changed), layout)
        assert not same_verdict(native, bytes(changed), layout)
    assert decoding > 0


def test_every_other_length(native: Native, payload: bytes) -> None:
    layout = layout_of(SHAPES)
    assert same_verdict(native, payload, layout)
    for end in range(len(payload)):
        assert not same_verdict(native, payload[:end], layout)
        if end >= wire.HEADER_BYTES:
            assert not same_verdict(native, sealed(payload[:end]), layout)
    for more in (b"\0", b"\1", bytes(300), b"\xff" * 300):
        assert not same_verdict(native, sealed(payload + more), layout)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_random_bodies_under_an_honest_header(native: Native, payload: bytes, data: st.DataObject) -> None:
    body = data.draw(st.binary(min_size=len(payload) - 64, max_size=len(payload) - 64))
    kept = data.draw(st.integers(0, len(body)))
    same_verdict(native, sealed(payload[: 64 + kept] + body[kept:]), layout_of(SHAPES))


@given(
    k=st.sampled_from((16, 64, 512)),
    bits=st.sampled_from((1, 2, 4)),
    size=st.sampled_from((1, 2, 9, 100, 4095, 4096)),
    data=st.data(),
)
@settings(max_examples=200, deadline=None)
def test_chunks_that_are_nearly_right(native: Native, k: int, bits: int, size: int, data: st.DataObject) -> None:
    """The right number of set bits, of any length, and any remainders: only the last position decides."""
    form, layout = Form.of(size, k // 16, bits), Layout((("w", (size,)),))
    record = bytearray(form.record_bytes)
    bitmap = b""
    if form.has_gaps:
        places = 8 * min(form.most_bitmap + 1, 255)
        chosen = data.draw(st.sets(st.integers(0, places - 1), min_size=form.kept, max_size=form.kept + 1))
        bitmap = sum(1 << place for place in chosen).to_bytes(max(chosen) // 8 + 1 + data.draw(st.integers(0, 1)), "little")
        bitmap = bitmap.ljust(form.least_bitmap, b"\0")
        record[0] = (len(bitmap) - form.least_bitmap) % 256
        width = form.widths[3] // 8
        start = 3 + (bits > 1)
        record[start : start + width] = data.draw(st.sampled_from((0, 1, 85, 255))).to_bytes(1, "little") * width
    hi = data.draw(st.sampled_from((0, 0x04FF, 0x0500, 0x3F80, 0x7F7F, 0x7F80, 0xBF80)))
    record[form.has_gaps : form.has_gaps + 2] = hi.to_bytes(2, "little")
    header = REFERENCE.compress({"w": torch.zeros(size)}, None, Codec(k=k, value_bits=bits), layout, None)[0][:64]
    same_verdict(native, sealed(header + bytes([k // 16]) + record + bitmap), layout)


def test_one_refused_payload_stops_all(native: Native, make: Make) -> None:
    shapes = {"w": (50, 4096)}
    layout = layout_of(shapes)
    good = [REFERENCE.compress(make(i, "heavy", shapes), None, Codec(k=64), layout, None)[0] for i in range(3)]
    last = bytearray(good[2])
    last[-1] = 0
    into = make(9, "heavy", shapes)
    before = {"w": into["w"].clone()}
    for bad in (bytes(last), sealed(last), good[2][:-1], good[2] + b"\0", b"", good[2][:64]):
        with pytest.raises(PayloadError):
            native.accumulate(into, [(good[0], 1.0), (good[1], 1.0), (bad, 1.0)], layout)
        same(into, before)


def test_refusals_say_why(native: Native, make: Make) -> None:
    """The words are those of the refusal's number: one of each end of the list."""
    layout = Layout((("w", (3,)),))
    payload = bytearray(REFERENCE.compress(make(1, "heavy", {"w": (3,)}), None, Codec(k=16), layout, None)[0])
    payload[64] = 33
    with pytest.raises(PayloadError, match="densities are out of range"):
        native.entries(sealed(payload), layout)
    half = bytearray(REFERENCE.compress({"w": torch.zeros(3)}, None, Codec("fp16"), layout, None)[0])
    half[-1] = 0x7C
    with pytest.raises(PayloadError, match="holds NaN or an infinity"):
        native.accumulate({"w": torch.zeros(3)}, [(sealed(half), 1.0)], layout)
    with pytest.raises(PayloadError, match="checksum"):
        native.entries(bytes(half), layout)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_buffer_type_is_read(native: Native, payload: bytes, kind: Callable[[bytes], bytes]) -> None:
    layout = layout_of(SHAPES)
    into = layout.zeros()
    native.accumulate(into, [(kind(payload), 1.0)], layout)
    same(into, kernels.decompress(kind(payload), layout, backend=native))
