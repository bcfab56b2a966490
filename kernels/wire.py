"""The 64-byte header that every payload begins with (docs/WIRE_FORMAT.md).

There is no checksum: a payload is named by its SHA-256 wherever it travels, and the decoder checks every field anyway.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from .codec import CHUNK, VALUE_BITS, valid_k
from .errors import PayloadError
from .layout import Buffer

MAGIC = b"CLBP"
VERSION = 1
LOG2_CHUNK = CHUNK.bit_length() - 1
SUPPORT_BITS = (4, 8)

_FORMAT = struct.Struct("<4sBBBBH6sQQ32s")
HEADER_BYTES = _FORMAT.size


class Kind(IntEnum):
    SPARSE = 1
    FP16 = 2
    SUPPORT = 3


@dataclass(frozen=True)
class Header:
    """`binding` is the layout's digest or, for `SUPPORT`, the SHA-256 of the payload whose coordinates it is about."""

    kind: Kind
    value_bits: int
    k: int
    elements: int
    chunks: int
    binding: bytes

    def pack(self) -> bytes:
        fields = (self.value_bits, self.k, bytes(6), self.elements, self.chunks, self.binding)
        return _FORMAT.pack(MAGIC, VERSION, self.kind, LOG2_CHUNK, *fields)


def parse(payload: Buffer) -> Header:
    """Read the header. Raises `PayloadError` on a field that no encoder of this version writes."""
    if len(payload) < HEADER_BYTES:
        raise PayloadError(f"a payload has at least {HEADER_BYTES} bytes, not {len(payload)}")
    magic, version, kind, log2_chunk, value_bits, k, reserved, elements, chunks, binding = _FORMAT.unpack_from(payload)
    if magic != MAGIC:
        raise PayloadError("not a payload: wrong magic")
    if version != VERSION:
        raise PayloadError(f"payload version {version} is not supported, only {VERSION}")
    if log2_chunk != LOG2_CHUNK or any(reserved):
        raise PayloadError("payload header has an unknown chunk size or nonzero reserved bytes")
    if not _parameters_valid(kind, value_bits, k):
        raise PayloadError(f"payload header has impossible parameters: kind {kind}, {value_bits} bits, k {k}")
    return Header(Kind(kind), value_bits, k, elements, chunks, binding)


def require(actual: Header, expected: Header) -> None:
    """Raise `PayloadError` unless the header is the one the decoder derived from what it knows."""
    if actual != expected:
        raise PayloadError("payload belongs to another layout or another patch")


def require_length(payload: Buffer, body_bytes: int) -> None:
    """Raise `PayloadError` unless header and body fill the payload exactly. Comes before any allocation."""
    expected = HEADER_BYTES + body_bytes
    if len(payload) != expected:
        raise PayloadError(f"payload has {len(payload)} bytes, its layout and parameters need {expected}")


def _parameters_valid(kind: int, value_bits: int, k: int) -> bool:
    if kind == Kind.SPARSE:
        return value_bits in VALUE_BITS and valid_k(k)
    if kind == Kind.FP16:
        return value_bits == 16 and k == 0
    return kind == Kind.SUPPORT and value_bits in SUPPORT_BITS and (k == 0 or valid_k(k))
