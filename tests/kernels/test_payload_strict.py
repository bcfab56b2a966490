"""Hostile bytes: they decode or raise `PayloadError`, and nothing is allocated from what they claim."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout, PayloadError

Make = Callable[..., dict[str, torch.Tensor]]

SHAPES = {"a": (40,), "b": (2, 3), "c": (0,), "d": ()}
CHUNK_AT = 64
LEVELS_AT = CHUNK_AT


def payload_of(make: Make, codec: Codec, shapes: dict[str, tuple[int, ...]] | None = None) -> tuple[bytes, Layout]:
    delta = make(7, "heavy", shapes or SHAPES)
    return kernels.compress(delta, None, codec)[0], Layout.of(delta)


def decodes_or_refuses(payload: bytes, layout: Layout) -> bool:
    try:
        decoded = kernels.decompress(payload, layout)
    except PayloadError:
        return False
    assert Layout.of(decoded) == layout
    assert all(bool(torch.isfinite(tensor).all()) for tensor in decoded.values())
    return True


@given(data=st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes(make: Make, data: bytes) -> None:
    assert not decodes_or_refuses(data, payload_of(make, Codec())[1])


@given(body=st.binary(min_size=0, max_size=120), bits=st.sampled_from((1, 2, 3, 4)), fill=st.booleans())
@settings(max_examples=300)
def test_random_bodies_under_an_honest_header(make: Make, body: bytes, bits: int, fill: bool) -> None:
    payload, layout = payload_of(make, Codec("sparse", 1024, bits))
    body = (body + bytes(len(payload)))[: len(payload) - 64] if fill else body
    decodes_or_refuses(payload[:64] + body, layout)


@given(
    at=st.integers(0, 10_000),
    mask=st.integers(1, 255),
    codec=st.sampled_from((Codec("sparse", 1024, 3), Codec("sparse", 32, 1), Codec("fp16"))),
)
@settings(max_examples=400)
def test_flipped_bits(make: Make, at: int, mask: int, codec: Codec) -> None:
    payload, layout = payload_of(make, codec)
    damaged = bytearray(payload)
    damaged[at % len(damaged)] ^= mask
    decodes_or_refuses(bytes(damaged), layout)
    with pytest.raises(PayloadError):
        kernels.decompress(damaged + b"\0", layout)


@pytest.mark.parametrize("kind", ["sparse", "fp16"])
def test_every_length_but_the_right_one_is_refused(make: Make, kind: str) -> None:
    payload, layout = payload_of(make, Codec(kind, 1024))  # type: ignore[arg-type]
    for end in range(len(payload)):
        with pytest.raises(PayloadError):
            kernels.decompress(payload[:end], layout)
    with pytest.raises(PayloadError, match="bytes"):
        kernels.decompress(payload + b"\0", layout)


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"X"), (4, b"\2"), (5, b"\0"), (5, b"\3"), (5, b"\4"), (6, b"\13"), (7, b"\0"), (7, b"\5"), (8, b"\1\0")]
    + [(at, b"\1") for at in range(10, 16)]
    + [(16, struct.pack("<Q", 1 << 63)), (24, struct.pack("<Q", 1 << 40)), (32, bytes(32))],
)
def test_header_fields_are_checked(make: Make, at: int, value: bytes) -> None:
    payload, layout = payload_of(make, Codec("sparse", 1024, 2))
    with pytest.raises(PayloadError):
        kernels.decompress(payload[:at] + value + payload[at + len(value) :], layout)


def test_another_layout_is_refused(make: Make) -> None:
    payload, _ = payload_of(make, Codec())
    with pytest.raises(PayloadError, match="another layout"):
        kernels.decompress(payload, Layout((("a", (47,)),)))


def one_chunk(make: Make) -> tuple[bytearray, Layout]:
    """A full chunk, k = 32, 2 bits: levels 4 bytes, low parts 32·7 bits, bitmap 64 bits, signs 32 bits, codes 32 bits."""
    payload, layout = payload_of(make, Codec("sparse", 32, 2), {"w": (4096,)})
    assert len(payload) == CHUNK_AT + 4 + 28 + 8 + 4 + 4
    return bytearray(payload), layout


@pytest.mark.parametrize(
    "levels",
    [(0x7F80, 0x7F80), (0x3F80, 0x7FC0), (0x3F80, 0x3F00), (0x8000, 0x3F80), (0x0001, 0x3F80), (0xBF80, 0xBF80)],
    ids=["infinite", "NaN", "descending", "negative zero", "denormal", "negative"],
)
def test_levels_are_checked(make: Make, levels: tuple[int, int]) -> None:
    payload, layout = one_chunk(make)
    struct.pack_into("<HH", payload, LEVELS_AT, *levels)
    with pytest.raises(PayloadError, match="levels"):
        kernels.decompress(payload, layout)


def test_a_signed_zero_is_refused(make: Make) -> None:
    payload, layout = one_chunk(make)
    struct.pack_into("<HH", payload, LEVELS_AT, 0, 0)
    payload[-8:-4] = b"\0\0\0\1"
    with pytest.raises(PayloadError, match="sign"):
        kernels.decompress(payload, layout)
    payload[-8:-4] = bytes(4)
    assert kernels.inspect(payload, layout).nonzeros == 0


def test_popcount_order_and_range_are_checked(make: Make) -> None:
    payload, layout = one_chunk(make)
    bitmap = slice(CHUNK_AT + 32, CHUNK_AT + 40)
    for wrong in (bytes(8), b"\xff" * 8, b"\xff" * 3 + bytes(5), b"\xff" * 4 + b"\1" + bytes(3)):
        payload[bitmap] = wrong
        with pytest.raises(PayloadError, match="positions"):
            kernels.decompress(payload, layout)
    payload[CHUNK_AT + 4 : CHUNK_AT + 32] = bytes(28)
    payload[bitmap] = b"\xff" * 4 + bytes(4)  # all high parts 0 and all low parts 0: one position, 32 times
    with pytest.raises(PayloadError, match="ascend"):
        kernels.decompress(payload, layout)
    payload[bitmap] = bytes(4) + b"\xff" * 4  # high parts 32: beyond the end
    with pytest.raises(PayloadError):
        kernels.decompress(payload, layout)


def test_padding_must_be_zero(make: Make) -> None:
    payload, layout = payload_of(make, Codec("sparse", 32, 1), {"w": (3,)})
    damaged = bytearray(payload)
    damaged[-1] |= 0x80
    with pytest.raises(PayloadError, match="nonzero bits"):
        kernels.decompress(damaged, layout)


def test_fp16_infinities_are_refused(make: Make) -> None:
    payload, layout = payload_of(make, Codec("fp16"))
    for half in (0x7C00, 0xFC00, 0x7E00):
        with pytest.raises(PayloadError, match="NaN"):
            kernels.decompress(payload[:-2] + struct.pack("<H", half), layout)


def test_a_refused_payload_changes_nothing_and_claims_allocate_nothing(make: Make) -> None:
    payload, _ = payload_of(make, Codec("sparse", 32, 2), {"w": (4096,)})
    into = {"w": torch.ones(4096)}
    claim = bytearray(payload)
    struct.pack_into("<QQ", claim, 16, 1 << 50, 1 << 38)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError):
            kernels.decompress_accumulate(into, claim, 1.0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(PayloadError):
        kernels.decompress_accumulate(into, payload[:-1], 1.0)
    assert torch.equal(into["w"], torch.ones(4096))


def test_every_buffer_type_is_read(make: Make) -> None:
    payload, layout = payload_of(make, Codec())
    decoded = [kernels.decompress(kind(payload), layout) for kind in (bytes, bytearray, memoryview)]
    assert all(torch.equal(each["a"], decoded[0]["a"]) for each in decoded)
