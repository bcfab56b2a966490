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
from collab.kernels import Codec, Layout, PayloadError, wire

Make = Callable[..., dict[str, torch.Tensor]]

SHAPES = {"a": (40,), "b": (2, 3), "c": (0,), "d": ()}
CHUNK_AT = 65
"""Of a payload of one tensor: header and a density come first."""
HI_AT = CHUNK_AT + 1


def payload_of(make: Make, codec: Codec, shapes: dict[str, tuple[int, ...]] | None = None) -> tuple[bytes, Layout]:
    delta = make(7, "heavy", shapes or SHAPES)
    return kernels.compress(delta, None, codec)[0], Layout.of(delta)


def resealed(payload: bytes | bytearray) -> bytes:
    """The payload with the checksum that its bytes have now."""
    return wire.seal(bytearray(payload))


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


@given(body=st.binary(min_size=0, max_size=120), bits=st.integers(1, 8), fill=st.booleans())
@settings(max_examples=300)
def test_random_bodies_under_an_honest_header(make: Make, body: bytes, bits: int, fill: bool) -> None:
    payload, layout = payload_of(make, Codec("sparse", 512, bits))
    body = (body + bytes(len(payload)))[: len(payload) - 64] if fill else body
    decodes_or_refuses(resealed(payload[:64] + body), layout)


@given(
    at=st.integers(0, 10_000),
    mask=st.integers(1, 255),
    codec=st.sampled_from((Codec("sparse", 512, 3), Codec("sparse", 32, 1), Codec("fp16"))),
)
@settings(max_examples=400)
def test_flipped_bits(make: Make, at: int, mask: int, codec: Codec) -> None:
    payload, layout = payload_of(make, codec)
    damaged = bytearray(payload)
    damaged[at % len(damaged)] ^= mask
    assert not decodes_or_refuses(bytes(damaged), layout)
    decodes_or_refuses(resealed(damaged), layout)
    with pytest.raises(PayloadError):
        kernels.decompress(resealed(damaged + b"\0"), layout)


@pytest.mark.parametrize("kind", ["sparse", "fp16"])
def test_every_length_but_the_right_one_is_refused(make: Make, kind: str) -> None:
    payload, layout = payload_of(make, Codec(kind, 512))  # type: ignore[arg-type]
    for end in range(len(payload)):
        with pytest.raises(PayloadError):
            kernels.decompress(payload[:end], layout)
        if end >= 64:
            with pytest.raises(PayloadError, match=r"need|missing"):
                kernels.decompress(resealed(payload[:end]), layout)
    with pytest.raises(PayloadError, match="bytes"):
        kernels.decompress(resealed(payload + b"\0"), layout)


def test_damage_is_found_by_the_checksum(make: Make) -> None:
    payload, layout = payload_of(make, Codec("fp16"))
    damaged = bytearray(payload)
    damaged[-1] ^= 1
    with pytest.raises(PayloadError, match="checksum"):
        kernels.decompress(damaged, layout)
    assert decodes_or_refuses(resealed(damaged), layout)


@pytest.mark.parametrize(
    ("at", "value"),
    [(0, b"X"), (4, b"\2"), (5, b"\0"), (5, b"\3"), (5, b"\4"), (6, b"\13"), (7, b"\0"), (7, b"\x09"), (64, b"\x21")]
    + [(at, b"\1") for at in range(12, 16)]
    + [(16, struct.pack("<Q", 1 << 63)), (24, struct.pack("<Q", 1 << 40)), (32, bytes(32))],
)
def test_header_fields_are_checked(make: Make, at: int, value: bytes) -> None:
    payload, layout = payload_of(make, Codec("sparse", 512, 2))
    with pytest.raises(PayloadError):
        kernels.decompress(resealed(payload[:at] + value + payload[at + len(value) :]), layout)


def test_another_layout_is_refused(make: Make) -> None:
    payload, _ = payload_of(make, Codec())
    with pytest.raises(PayloadError, match="another layout"):
        kernels.decompress(payload, Layout((("a", (47,)),)))


RECORD = 1 + 2 + 1 + 32 * 6 // 8 + 4 + 4
"""A full chunk, k = 32, 2 bits: length, hi, lo, remainders of 6 bits, signs, codes."""


def one_chunk(make: Make) -> tuple[bytearray, Layout]:
    payload, layout = payload_of(make, Codec("sparse", 32, 2), {"w": (4096,)})
    assert payload[64] == 2
    assert len(payload) == CHUNK_AT + RECORD + 4 + payload[CHUNK_AT]
    return bytearray(payload), layout


@pytest.mark.parametrize(
    "hi", [0x7F80, 0x7FC0, 0x8000, 0x0001, 0x04FF, 0xBF80],
    ids=["infinite", "NaN", "negative zero", "denormal", "too small", "negative"],
)
def test_scales_are_checked(make: Make, hi: int) -> None:
    payload, layout = one_chunk(make)
    struct.pack_into("<H", payload, HI_AT, hi)
    with pytest.raises(PayloadError, match="scale"):
        kernels.decompress(resealed(payload), layout)


def test_a_zero_has_no_level_and_no_sign(make: Make) -> None:
    payload, layout = one_chunk(make)
    struct.pack_into("<HB", payload, HI_AT, 0, 0)
    signs, codes = slice(CHUNK_AT + RECORD - 8, CHUNK_AT + RECORD - 4), slice(CHUNK_AT + RECORD - 4, CHUNK_AT + RECORD)
    payload[codes], payload[signs] = bytes(4), b"\0\0\0\1"
    with pytest.raises(PayloadError, match="sign"):
        kernels.decompress(resealed(payload), layout)
    payload[codes], payload[signs] = b"\0\0\0\1", bytes(4)
    with pytest.raises(PayloadError, match="levels"):
        kernels.decompress(resealed(payload), layout)
    payload[codes] = bytes(4)
    assert kernels.inspect(resealed(payload), layout).nonzeros == 0
    payload[HI_AT + 2] = 1
    with pytest.raises(PayloadError, match="levels"):
        kernels.decompress(resealed(payload), layout)
    struct.pack_into("<HB", payload, HI_AT, 0x3F80, 0)  # the lower level is zero
    payload[signs] = b"\1\0\0\0"
    with pytest.raises(PayloadError, match="sign"):
        kernels.decompress(resealed(payload), layout)


def with_bitmap(payload: bytearray, bitmap: bytes) -> bytes:
    body = bytearray(payload[: CHUNK_AT + RECORD]) + bitmap
    body[CHUNK_AT] = (len(bitmap) - 4) % 256
    return resealed(body)


def test_bitmaps_are_checked(make: Make) -> None:
    payload, layout = one_chunk(make)
    for wrong in (bytes(3) + b"\1", b"\xff" * 3 + b"\x7f", b"\xff" * 4 + b"\1", b"\xff" * 8):
        with pytest.raises(PayloadError, match="positions"):
            kernels.decompress(with_bitmap(payload, wrong), layout)
    with pytest.raises(PayloadError, match="zeros"):
        kernels.decompress(with_bitmap(payload, b"\xff" * 4 + b"\0"), layout)
    longest = (32 + (4064 >> 6) + 7) // 8
    with pytest.raises(PayloadError, match="longer"):
        kernels.decompress(with_bitmap(payload, b"\xff" * 3 + b"\x7f" + bytes(longest - 4) + b"\1"), layout)
    payload[HI_AT + 3 : HI_AT + 27] = b"\xff" * 24  # every remainder 63
    with pytest.raises(PayloadError, match="beyond"):
        kernels.decompress(with_bitmap(payload, b"\xff" * 3 + b"\x7f" + bytes(longest - 5) + b"\x80"), layout)
    payload[HI_AT + 3 : HI_AT + 27] = bytes(24)
    decoded = kernels.decompress(with_bitmap(payload, b"\xff" * 4), layout)
    assert bool(decoded["w"][:32].all())
    assert not bool(decoded["w"][32:].any())


def test_padding_must_be_zero(make: Make) -> None:
    payload, layout = payload_of(make, Codec("sparse", 32, 1), {"w": (3,)})
    damaged = bytearray(payload)
    damaged[-2] |= 0x80  # the record's last byte, before a bitmap of one
    with pytest.raises(PayloadError, match="nonzero bits"):
        kernels.decompress(resealed(damaged), layout)


def test_fp16_infinities_are_refused(make: Make) -> None:
    payload, layout = payload_of(make, Codec("fp16"))
    for half in (0x7C00, 0xFC00, 0x7E00):
        with pytest.raises(PayloadError, match="NaN"):
            kernels.decompress(resealed(payload[:-2] + struct.pack("<H", half)), layout)


def test_a_refused_payload_changes_nothing_and_claims_allocate_nothing(make: Make) -> None:
    payload, _ = payload_of(make, Codec("sparse", 32, 2), {"w": (4096,)})
    into = {"w": torch.ones(4096)}
    claim = bytearray(payload)
    struct.pack_into("<QQ", claim, 16, 1 << 50, 1 << 38)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError):
            kernels.decompress_accumulate(into, [(resealed(claim), 1.0)])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(PayloadError):
        kernels.decompress_accumulate(into, [(payload, 1.0), (payload[:-1], 1.0)])
    assert torch.equal(into["w"], torch.ones(4096))


def test_every_buffer_type_is_read(make: Make) -> None:
    payload, layout = payload_of(make, Codec())
    decoded = [kernels.decompress(kind(payload), layout) for kind in (bytes, bytearray, memoryview)]
    assert all(torch.equal(each["a"], decoded[0]["a"]) for each in decoded)
