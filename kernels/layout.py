"""Names and shapes of a model's tensors: what a payload is encoded against and decoded into.

A payload carries no shapes of its own. Decoder and encoder hold the same `Layout` (the event fixes it), the header
carries its digest, and so a payload is known to be no longer than the layout allows before its first byte is read.
torch is imported where tensors are made or looked at, and not before: the daemon bounds payloads without it.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import torch

Tensors: TypeAlias = "Mapping[str, torch.Tensor]"
"""Named float32 tensors."""

Buffer = bytes | bytearray | memoryview

MAX_NAME_BYTES = 1024
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 1 << 40

_MAGIC = b"CLBL\x01"


@dataclass(frozen=True)
class Layout:
    """Tensors in ascending order of name, each with its shape.

    Raises `ValueError` when names are not strictly ascending or a shape is out of bounds.
    """

    tensors: tuple[tuple[str, tuple[int, ...]], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.tensors]
        if any(a >= b for a, b in itertools.pairwise(names)):
            raise ValueError("a layout's names must be distinct and in ascending order")
        for name, shape in self.tensors:
            if not 1 <= len(name.encode()) <= MAX_NAME_BYTES:
                raise ValueError(f"a tensor's name must have 1 to {MAX_NAME_BYTES} bytes: {name[:40]!r}")
            if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape):
                raise ValueError(f"tensor {name!r} has an impossible shape {shape}")
        if self.numel() > MAX_ELEMENTS:
            raise ValueError(f"a layout has at most {MAX_ELEMENTS} elements, this one {self.numel()}")

    @classmethod
    def of(cls, tensors: Tensors, *dtypes: torch.dtype) -> Layout:
        """The layout of these tensors, in whatever order the mapping gives them.

        `TypeError` unless all have one of `dtypes`, float32 if none are given.
        """
        import torch

        allowed = dtypes or (torch.float32,)
        for name, tensor in tensors.items():
            if tensor.dtype not in allowed:
                names = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
                raise TypeError(f"tensor {name!r} is {tensor.dtype}, kernels work on {names} here")
        return cls(tuple(sorted((name, tuple(tensor.shape)) for name, tensor in tensors.items())))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.tensors)

    def numel(self) -> int:
        return sum(math.prod(shape) for _, shape in self.tensors)

    def digest(self) -> bytes:
        """SHA-256 (32 bytes) of the canonical bytes that docs/WIRE_FORMAT.md defines."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        digest = hashlib.sha256(_MAGIC + struct.pack("<I", len(self.tensors)))
        for name, shape in self.tensors:
            encoded = name.encode()
            digest.update(struct.pack("<H", len(encoded)) + encoded)
            digest.update(struct.pack(f"<B{len(shape)}Q", len(shape), *shape))
        return digest.digest()

    def zeros(self) -> dict[str, torch.Tensor]:
        """A float32 zero for every coordinate."""
        import torch

        return {name: torch.zeros(shape, dtype=torch.float32) for name, shape in self.tensors}

    def empty(self) -> dict[str, torch.Tensor]:
        """Contiguous float32 tensors, not set."""
        import torch

        return {name: torch.empty(shape, dtype=torch.float32) for name, shape in self.tensors}

    def require(self, tensors: Tensors, what: str) -> None:
        """Raise `ValueError` unless `tensors` has exactly this layout."""
        if Layout.of(tensors) != self:
            raise ValueError(f"{what} does not have the layout of the tensors it belongs to")
