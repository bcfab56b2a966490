"""How long a payload can be, from layout and codec alone, before any of it is fetched. No torch: the daemon asks."""

from __future__ import annotations

from collections.abc import Callable

from . import wire
from .codec import DENSE, Codec
from .form import Form
from .layout import Layout
from .pieces import counted, pieces_of


def max_payload_bytes(layout: Layout, codec: Codec) -> int:
    """Bytes of the longest patch of this layout and codec. Gaps are a few bytes shorter or longer with the values."""
    if codec.kind == "fp16":
        return wire.HEADER_BYTES + dense_bytes(layout)
    records = _total(layout, codec, lambda form: form.record_bytes + form.most_bitmap)
    return wire.HEADER_BYTES + len(layout.tensors) + records


def max_support_bytes(layout: Layout, codec: Codec, *, bits: int = 8) -> int:
    """Bytes of values on the support of such a patch."""
    return wire.HEADER_BYTES + _total(layout, codec, lambda form: support_stride(form.kept, bits))


def dense_bytes(layout: Layout) -> int:
    """Bytes of a dense body."""
    return 2 * layout.numel()


def support_stride(entries: int, bits: int) -> int:
    """Bytes of a chunk's values on a support with so many coordinates."""
    return 2 + -(-entries * bits // 8)


def _total(layout: Layout, codec: Codec, of: Callable[[Form], int]) -> int:
    densities = codec.densities(layout) if codec.kind == "sparse" else (DENSE,) * len(layout.tensors)
    counts = counted(pieces_of(layout, densities, codec.value_bits))
    return sum(count * of(form) for form, count in counts.items())
