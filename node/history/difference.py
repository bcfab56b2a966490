"""Where two files part, and which tensor of a safetensors file a byte belongs to."""

from __future__ import annotations

import json
import struct
from pathlib import Path

_CHUNK = 1 << 20
_HEADER_BYTES = 100 << 20


def first_difference(one: Path, other: Path) -> int | None:
    """Return the offset of the first byte in which two files differ (where the shorter one ends, if it is the other's start)."""
    offset = 0
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            a, b = left.read(_CHUNK), right.read(_CHUNK)
            if a != b:
                same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
                return offset + same
            if not a:
                return None
            offset += len(a)


def tensor_at(path: Path, offset: int) -> str | None:
    """Return the tensor whose bytes are at `offset` of a well-formed safetensors file; None in front of them or behind.

    Format: https://huggingface.co/docs/safetensors/index#format
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > _HEADER_BYTES:
            raise ValueError(f"{path.name} has a header of {length} bytes")
        header = json.loads(file.read(length))
    at = offset - 8 - length
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            if begin <= at < end:
                return str(name)
    return None
