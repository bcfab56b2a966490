"""The 64-byte header that every payload begins with (docs/WIRE_FORMAT.md)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from .codec import CHUNK, K_STEP, MAX_K, MAX_VALUE_BITS
from .errors import PayloadError
from .layout import Buffer

MAGIC = b"CLBP"
VERSION = 1
LOG2_CHUNK = CHUNK.bit_length() - 1
SUPPORT_BITS = (4, 8)

_FORMAT = struct.Struct("<4sBBBBI4sQQ32s")
_CHECKSUM = struct.Struct("<I")
_CHECKSUM_AT = 8
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
    elements: int
    chunks: int
    binding: bytes

    def pack(self) -> bytes:
        """The 64 bytes, the checksum still zero."""
        fields = (self.value_bits, 0, bytes(4), self.elements, self.chunks, self.binding)
        return _FORMAT.pack(MAGIC, VERSION, self.kind, LOG2_CHUNK, *fields)


def seal(payload: bytearray) -> bytes:
    """The payload with its checksum written into it."""
    _CHECKSUM.pack_into(payload, _CHECKSUM_AT, _checksum(payload))
    return bytes(payload)


def parse(payload: Buffer) -> Header:
    """Read the header. Raises `PayloadError` on a field that no encoder of this version writes."""
    if len(payload) < HEADER_BYTES:
        raise PayloadError(f"a payload has at least {HEADER_BYTES} bytes, not {len(payload)}")
    magic, version, kind, log2_chunk, value_bits, _, reserved, elements, chunks, binding = _FORMAT.unpack_from(payload)
    if magic != MAGIC:
        raise PayloadError("not a payload: wrong magic")
    if version != VERSION:
        raise PayloadError(f"payload version {version} is not supported, only {VERSION}")
    if log2_chunk != LOG2_CHUNK or any(reserved):
        raise PayloadError("payload header has an unknown chunk size or nonzero reserved bytes")
    if not _parameters_valid(kind, value_bits):
        raise PayloadError(f"payload header has impossible parameters: kind {kind}, {value_bits} bits")
    return Header(Kind(kind), value_bits, elements, chunks, binding)


def require(actual: Header, expected: Header) -> None:
    """Raise `PayloadError` unless the header is the one the decoder derived from what it knows."""
    if actual != expected:
        raise PayloadError("payload belongs to another layout or another patch")


def require_length(payload: Buffer, body_bytes: int) -> None:
    """Raise `PayloadError` unless header and body fill the payload exactly. Comes before any allocation."""
    expected = HEADER_BYTES + body_bytes
    if len(payload) != expected:
        raise PayloadError(f"payload has {len(payload)} bytes, its layout and parameters need {expected}")


def require_checksum(payload: Buffer) -> None:
    """Raise `PayloadError` unless the payload is as it was written."""
    if _CHECKSUM.unpack_from(payload, _CHECKSUM_AT)[0] != _checksum(payload):
        raise PayloadError("payload is damaged: its checksum differs")


def require_densities(payload: Buffer, tensors: int) -> tuple[int, ...]:
    """The density byte of each tensor of a sparse patch. Raises `PayloadError` on one that no encoder writes."""
    densities = tuple(memoryview(payload)[HEADER_BYTES : HEADER_BYTES + tensors])
    if len(densities) != tensors or any(density > MAX_K // K_STEP for density in densities):
        raise PayloadError("a payload's densities are missing or out of range")
    return densities


def _checksum(payload: Buffer) -> int:
    view = memoryview(payload)
    return zlib.crc32(view[_CHECKSUM_AT + 4 :], zlib.crc32(bytes(4), zlib.crc32(view[:_CHECKSUM_AT])))


def _parameters_valid(kind: int, value_bits: int) -> bool:
    if kind == Kind.SPARSE:
        return 1 <= value_bits <= MAX_VALUE_BITS
    if kind == Kind.FP16:
        return value_bits == 16
    return kind == Kind.SUPPORT and value_bits in SUPPORT_BITS
