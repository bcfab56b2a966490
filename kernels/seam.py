"""The seam between the public entry and its implementations.

An implementation is chosen once, by the entry, or passed to a call as `backend=`. Whatever is registered here has to give
the same bytes and the same float32 bits as `Reference` on every input: a backend changes speed, never output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .codec import Codec
from .layout import Buffer, Layout, Tensors


@dataclass(frozen=True)
class Entries:
    """What a payload says about one tensor: `values` (float32, 1-D) at the flattened positions `index` (int64,
    ascending), or at every position if `index` is None."""

    index: Tensor | None
    values: Tensor

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensor's values at these positions, 1-D."""
        flat = tensor.view(-1)
        return flat if self.index is None else flat[self.index]

    def put(self, tensor: Tensor, values: Tensor) -> None:
        """Write `values` at these positions of a contiguous tensor."""
        flat = tensor.view(-1)
        if self.index is None:
            flat.copy_(values)
        else:
            flat[self.index] = values


class Backend(Protocol):
    """Arguments have been checked by the entry: layouts and dtypes agree, `out` and `into` are contiguous. Payloads have not."""

    @property
    def name(self) -> str: ...

    def compress(
        self, delta: Tensors, residual: Tensors | None, codec: Codec, layout: Layout, out: dict[str, Tensor] | None
    ) -> tuple[bytes, dict[str, Tensor]]:
        """See `kernels.compress`."""
        ...

    def entries(self, payload: Buffer, layout: Layout) -> dict[str, Entries]:
        """Decode a `sparse` or `fp16` payload. Raises `PayloadError` on any other bytes."""
        ...

    def accumulate(self, into: dict[str, Tensor], parts: Sequence[tuple[Buffer, float]], layout: Layout) -> None:
        """See `kernels.decompress_accumulate`."""
        ...

    def compress_on_support(self, values: Tensors, support: Buffer, bits: int, layout: Layout) -> bytes:
        """See `kernels.compress_on_support`."""
        ...

    def values_on_support(self, payload: Buffer, support: Buffer, layout: Layout) -> dict[str, Tensor]:
        """By tensor, the values (float32, 1-D) that belong to `entries(support)`, in that order."""
        ...
