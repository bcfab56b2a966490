"""The sparse format written down a second time, slowly, from docs/WIRE_FORMAT.md: integers, lists and strings of bits."""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction

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
    """integer · 2^(exponent−150), to nearest, ties to even, from 2^-117 to the largest bf16."""
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
    return 0 if encoded < 0x0500 else min(encoded, 0x7F7F)


def aligned(keys: list[int]) -> tuple[list[int], int]:
    top = max(max(key >> 23, 1) for key in keys)
    numbers = []
    for key in keys:
        mantissa = key & 0x7FFFFF | (0x800000 if key >> 23 else 0)
        numbers.append(mantissa >> min(top - max(key >> 23, 1), 24))
    return numbers, top


def line(numbers: list[int], levels: int, dense: bool) -> tuple[int, int]:
    """lo and hi as integers."""
    kept, steps = len(numbers), 2 * levels - 2
    if dense:
        return 0, max(numbers)
    if levels == 1:
        return 0, sum(numbers) // kept
    lo, hi = min(numbers), max(numbers)
    if levels == 2:
        hi = min(hi, lo + 3 * (sum(numbers) // kept - lo))
    for _ in range(2):
        edges = [lo + (hi - lo) * (2 * j + 1) // steps for j in range(levels - 1)]
        codes = [sum(n > edge for edge in edges) for n in numbers]
        c, m = sum(codes), sum(numbers)
        cc, cm = sum(code * code for code in codes), sum(code * n for code, n in zip(codes, numbers, strict=True))
        if d := kept * cc - c * c:
            bottom = m * cc - c * cm
            lo, hi = max(0, bottom // d), min((1 << 24) - 1, (bottom + (levels - 1) * (kept * cm - c * m)) // d)
    return lo, hi


def chunk_bytes(values: list[int], density: int, value_bits: int) -> tuple[bytes, bytes]:
    """Record and bitmap; `values`: the bits of a chunk's float32."""
    size, dense = len(values), density == 0
    kept, width = (size, 8) if dense else (-(-16 * density * size // 4096), value_bits)
    levels = 1 << (width - 1)
    order = sorted(range(size), key=lambda at: (-(values[at] & 0x7FFFFFFF), at))
    chosen = sorted(order[:kept])
    numbers, top = aligned([values[at] & 0x7FFFFFFF for at in chosen])
    lo, hi = line(numbers, levels, dense)
    scale = bf16(hi, top)
    share = min(255, (512 * lo + hi) // (2 * hi)) if scale else 0
    parts = [256] if levels == 1 else [share + (2 * (256 - share) * c + levels - 1) // (2 * levels - 2) for c in range(levels)]
    real = Fraction(struct.unpack("<f", struct.pack("<I", scale << 16))[0])
    edges = [real * (a + b) / 512 for a, b in itertools.pairwise(parts)]
    magnitudes = [Fraction(struct.unpack("<f", struct.pack("<I", values[at] & 0x7FFFFFFF))[0]) for at in chosen]
    codes = [sum(magnitude > edge for edge in edges) if scale else 0 for magnitude in magnitudes]
    signs = [int(values[at] > 1 << 31 and scale > 0 and parts[code] > 0) for at, code in zip(chosen, codes, strict=True)]

    bits = field(scale, 16) + (field(share, 8) if width > 1 else [])
    bitmap: list[int] = []
    if kept < size:
        r = (7 * size // (10 * kept)).bit_length() - 1
        gaps = [at - before - 1 for before, at in itertools.pairwise([-1, *chosen])]
        for gap in gaps:
            bitmap += [0] * (gap >> r) + [1]
        bits = field(-(-len(bitmap) // 8) - -(-kept // 8), 8) + bits + [bit for gap in gaps for bit in field(gap, r)]
    bits += signs + [bit for code in codes for bit in field(code, width - 1)]
    return packed(bits), packed(bitmap)


def packed(bits: list[int]) -> bytes:
    bits = bits + [0] * (-len(bits) % 8)
    return bytes(sum(bit << at for at, bit in enumerate(bits[start : start + 8])) for start in range(0, len(bits), 8))


def digest(tensors: dict[str, torch.Tensor]) -> bytes:
    canonical = b"CLBL\x01" + struct.pack("<I", len(tensors))
    for name in sorted(tensors):
        shape = tuple(tensors[name].shape)
        canonical += struct.pack("<H", len(name.encode())) + name.encode()
        canonical += struct.pack("<B", len(shape)) + b"".join(struct.pack("<Q", size) for size in shape)
    return hashlib.sha256(canonical).digest()


def payload_bytes(tensors: dict[str, torch.Tensor], densities: dict[str, int], value_bits: int) -> bytes:
    chunks = []
    for name in sorted(tensors):
        words = tensors[name].reshape(-1).numpy().view(np.uint32).tolist()
        chunks += [chunk_bytes(words[at : at + 4096], densities[name], value_bits) for at in range(0, len(words), 4096)]
    elements = sum(tensor.numel() for tensor in tensors.values())
    head = b"CLBP" + bytes((1, 1, 12, value_bits))
    tail = bytes(4) + struct.pack("<QQ", elements, len(chunks)) + digest(tensors)
    tail += bytes(densities[name] for name in sorted(tensors))
    tail += b"".join(record for record, _ in chunks) + b"".join(bitmap for _, bitmap in chunks)
    return head + struct.pack("<I", zlib.crc32(head + bytes(4) + tail)) + tail


@given(
    k=st.sampled_from((16, 32, 64, 96, 128, 256, 512)),
    value_bits=st.integers(1, 8),
    kind=st.sampled_from(("normal", "heavy", "ties", "zeros", "equal", "denormal", "huge", "bits")),
    seed=st.integers(0, 1 << 20),
)
@settings(max_examples=40)
def test_reference_writes_what_the_specification_says(
    make: Make, k: int, value_bits: int, kind: str, seed: int
) -> None:
    tensors = make(seed, kind)
    codec = Codec("sparse", k, value_bits, dense_below=4, tensors=(("d.*", 0), ("f.*", 256)))
    densities = dict.fromkeys(tensors, k // 16) | {"a.empty": 0, "b.scalar": 0, "c.bias": 0, "d.norm": 0, "f.tail": 16}
    payload, _ = kernels.compress(tensors, None, codec, backend=kernels.backend("reference"))
    assert payload == payload_bytes(tensors, densities, value_bits)


def test_layout_digest_is_the_specified_one(make: Make) -> None:
    tensors = make(0)
    assert Layout.of(tensors).digest() == digest(tensors)
