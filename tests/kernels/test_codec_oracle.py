"""The sparse format written down a second time, slowly, from docs/WIRE_FORMAT.md: integers, lists and strings of bits."""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from collab import kernels
from collab.kernels import Codec, Layout

Make = Callable[..., dict[str, torch.Tensor]]


def field(value: int, width: int) -> list[int]:
    return [(value >> at) & 1 for at in range(width)]


def bf16(integer: int, exponent: int) -> int:
    """integer · 2^(exponent−150), to nearest, ties to even, in the normal range."""
    if integer == 0:
        return 0
    length = integer.bit_length()
    biased, shift = exponent - 24 + length, length - 8
    if shift <= 0:
        mantissa = integer << -shift
    else:
        mantissa, rest = integer >> shift, integer & ((1 << shift) - 1)
        half = 1 << (shift - 1)
        mantissa += rest > half or (rest == half and mantissa & 1)
    encoded = (biased << 7) + mantissa - 128
    return 0 if encoded < 0x80 else min(encoded, 0x7F7F)


def levels_and_codes(keys: list[int], value_bits: int) -> tuple[list[int], list[int], int]:
    top = max(max(key >> 23, 1) for key in keys)
    numbers = []
    for key in keys:
        mantissa = key & 0x7FFFFF | (0x800000 if key >> 23 else 0)
        numbers.append(mantissa >> min(top - max(key >> 23, 1), 24))
    codes, means = [0] * len(keys), [sum(numbers) // len(numbers)]

    def refit(fallback: list[int]) -> list[int]:
        cells = [[n for n, code in zip(numbers, codes, strict=True) if code == cell] for cell in range(len(fallback))]
        return [sum(cell) // len(cell) if cell else other for cell, other in zip(cells, fallback, strict=True)]

    for _ in range(value_bits - 1):
        codes = [2 * code + (n > means[code]) for n, code in zip(numbers, codes, strict=True)]
        means = refit([mean for mean in means for _ in range(2)])
    for _ in range(4 if value_bits > 1 else 0):
        edges = [(a + b) // 2 for a, b in itertools.pairwise(means)]
        codes = [sum(n > edge for edge in edges) for n in numbers]
        means = refit(means)
    return means, codes, top


def chunk_bytes(values: list[int], k: int, value_bits: int) -> bytes:
    """`values`: the bits of a chunk's float32."""
    size = len(values)
    kept = -(-k * size // 4096)
    low = (size // kept).bit_length() - 1
    order = sorted(range(size), key=lambda at: (-(values[at] & 0x7FFFFFFF), at))
    chosen = sorted(order[:kept])
    means, codes, top = levels_and_codes([values[at] & 0x7FFFFFFF for at in chosen], value_bits)
    levels = [bf16(mean, top) for mean in means]
    bitmap = [0] * (kept + ((size - 1) >> low) + 1)
    for number, at in enumerate(chosen):
        bitmap[(at >> low) + number] = 1
    bits = [bit for level in levels for bit in field(level, 16)]
    bits += [bit for at in chosen for bit in field(at, low)]
    bits += bitmap
    bits += [int(values[at] > 1 << 31 and levels[code] > 0) for at, code in zip(chosen, codes, strict=True)]
    bits += [bit for code in codes for bit in field(code, value_bits - 1)]
    bits += [0] * (-len(bits) % 8)
    return bytes(sum(bit << at for at, bit in enumerate(bits[start : start + 8])) for start in range(0, len(bits), 8))


def digest(tensors: dict[str, torch.Tensor]) -> bytes:
    canonical = b"CLBL\x01" + struct.pack("<I", len(tensors))
    for name in sorted(tensors):
        shape = tuple(tensors[name].shape)
        canonical += struct.pack("<H", len(name.encode())) + name.encode()
        canonical += struct.pack("<B", len(shape)) + b"".join(struct.pack("<Q", size) for size in shape)
    return hashlib.sha256(canonical).digest()


def payload_bytes(tensors: dict[str, torch.Tensor], k: int, value_bits: int) -> bytes:
    chunks = []
    for name in sorted(tensors):
        words = tensors[name].reshape(-1).numpy().view(np.uint32).tolist()
        chunks += [chunk_bytes(words[at : at + 4096], k, value_bits) for at in range(0, len(words), 4096)]
    elements = sum(tensor.numel() for tensor in tensors.values())
    head = b"CLBP" + bytes((1, 1, 12, value_bits)) + struct.pack("<H", k) + bytes(6)
    return head + struct.pack("<QQ", elements, len(chunks)) + digest(tensors) + b"".join(chunks)


@given(
    k=st.sampled_from((32, 64, 96, 128, 256, 1024)),
    value_bits=st.sampled_from((1, 2, 3, 4)),
    kind=st.sampled_from(("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge", "bits")),
    seed=st.integers(0, 1 << 20),
)
@settings(max_examples=40)
def test_reference_writes_what_the_specification_says(
    make: Make, k: int, value_bits: int, kind: str, seed: int
) -> None:
    tensors = make(seed, kind)
    assert kernels.compress(tensors, None, Codec("sparse", k, value_bits))[0] == payload_bytes(tensors, k, value_bits)


def test_layout_digest_is_the_specified_one(make: Make) -> None:
    tensors = make(0)
    assert Layout.of(tensors).digest() == digest(tensors)
