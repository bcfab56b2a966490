"""Compression and merging of updates: pure computation, the same bits on every machine.

How it works
------------
A **patch** is what one contribution sends of its pseudo-gradient. `compress` cuts every tensor into chunks of 4096
elements (`grid`), takes the `k` largest magnitudes of each (`select`), rounds them to a sign and one of a few levels
fitted to the chunk (`quantize`), writes their positions as gaps in Golomb–Rice code (`gaps`) and puts a 64-byte header in front
(`wire`). What was left out or rounded away is the **residual**, which the next round adds before it
selects: error feedback. The dense kind (`dense`) is two bytes a value. A Fisher diagonal travels as a second payload
that gives a few bits to each coordinate of the patch and does not repeat the coordinates (`support`).

Decoding trusts nothing. The layout and the densities fix a payload's length but for its bitmaps, which are bounded; lengths are
compared before anything is allocated, so that memory is bounded by the layout. Each field is then checked, and any byte string
either decodes or raises `PayloadError`.

`merge` turns contributions into one pseudo-gradient, `outer` takes the step with it. Everybody replays a merge and must
get the same state hash, so nothing that decides a bit is left to a library: products and sums of float32 are separate
elementwise operations, sums over many elements are integer (`quantize`) or in a fixed order (`canonical`), floats are
taken apart as integers (`floats`). It supposes that denormals are not flushed (`torch.set_flush_denormal(False)`, the
default). The bytes are specified in docs/WIRE_FORMAT.md.

`reference` is the definition in plain torch. Behind the same `seam`, `native` (C++) and `cuda` compute the same bits faster;
`entry` takes the fastest that works where the tensors are.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .canonical import norm
    from .codec import Codec
    from .entry import (
        backend,
        backends,
        compress,
        compress_on_support,
        decompress,
        decompress_accumulate,
        decompress_on_support,
    )
    from .errors import MissingStatisticsError, NonFiniteError, PayloadError
    from .inspection import Inspection, inspect
    from .layout import Buffer, Layout, Tensors
    from .seam import Backend
    from .sizes import max_payload_bytes, max_support_bytes

__all__ = [
    "Backend",
    "Buffer",
    "Codec",
    "Inspection",
    "Layout",
    "MissingStatisticsError",
    "NonFiniteError",
    "PayloadError",
    "Tensors",
    "backend",
    "backends",
    "compress",
    "compress_on_support",
    "decompress",
    "decompress_accumulate",
    "decompress_on_support",
    "inspect",
    "max_payload_bytes",
    "max_support_bytes",
    "norm",
]

# Each public name's module, imported when the name is first asked for: half of them import torch, which the daemon does without.
_NAMES = {
    "canonical": ("norm",),
    "codec": ("Codec",),
    "entry": (
        "backend", "backends", "compress", "compress_on_support", "decompress", "decompress_accumulate", "decompress_on_support",
    ),
    "errors": ("MissingStatisticsError", "NonFiniteError", "PayloadError"),
    "inspection": ("Inspection", "inspect"),
    "layout": ("Buffer", "Layout", "Tensors"),
    "seam": ("Backend",),
    "sizes": ("max_payload_bytes", "max_support_bytes"),
}  # fmt: skip
_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value
