"""The native library behind the seam: headers and shapes here, everything else in C++."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import wire
from ..codec import CHUNK, Codec
from ..form import Form
from ..layout import Buffer, Layout, Tensors
from ..pieces import chunk_count
from ..reference import Reference, patch_header
from ..seam import Entries
from ..wire import HEADER_BYTES, Header, Kind
from .library import Library, Patch, Run, Source, find


class Native(Reference):
    """Tensors on the CPU, all kinds of patches; anything else goes to the reference. Raises `LibraryError` without a library.

    `threads` (by default as many as torch has, but no more than processors) and `instructions` (by default the fastest set of the
    machine) are for tests and measurements. `ValueError` if the machine does not have the instructions.
    """

    name = "native"

    def __init__(self, *, threads: int | None = None, instructions: str | None = None, library: Library | None = None) -> None:
        self._library = library or find()
        self._threads = threads
        available = self._library.instructions
        self._instructions = instructions or available[-1]
        if self._instructions not in available:
            raise ValueError(f"instructions must be one of {', '.join(available)} here, not {instructions!r}")

    def compress(
        self, delta: Tensors, residual: Tensors | None, codec: Codec, layout: Layout, out: dict[str, Tensor] | None
    ) -> tuple[bytes, dict[str, Tensor]]:
        if not _on_cpu(delta, residual or {}, out or {}):
            return super().compress(delta, residual, codec, layout, out)
        left = layout.empty() if out is None else out
        elements = _elements(layout)
        inputs = [_Input(delta[name], residual[name] if residual is not None else None, left[name]) for name in layout.names]
        sources = [each.source for each in inputs]
        if codec.kind == "fp16":
            payload = np.empty(HEADER_BYTES + 2 * sum(elements), np.uint8)
            self._library.compress_halves(elements, sources, codec.decay, self._run(), payload.ctypes.data + HEADER_BYTES)
            return self._sealed(payload, Kind.FP16, 16, layout), left
        densities = codec.densities(layout)
        payload = np.empty(HEADER_BYTES + self._library.most_bytes(elements, densities, codec.value_bits), np.uint8)
        body = payload.ctypes.data + HEADER_BYTES
        written = self._library.compress(elements, densities, sources, codec.value_bits, codec.decay, self._run(), body)
        return self._sealed(payload[: HEADER_BYTES + written], Kind.SPARSE, codec.value_bits, layout), left

    def entries(self, payload: Buffer, layout: Layout) -> dict[str, Entries]:
        data, elements = bytes(payload), _elements(layout)
        header = patch_header(data, layout)
        patch = _patch(data, header, 1.0)
        self._library.check(elements, patch, self._run())
        if header.kind == Kind.FP16:
            values = torch.empty(sum(elements), dtype=torch.float32)
            self._library.entries(elements, patch, None, values.data_ptr(), self._run())
            return {name: Entries(None, part) for name, part in zip(layout.names, torch.split(values, elements), strict=True)}
        densities = wire.require_densities(data, len(elements))
        kept = [_kept(count, density) for count, density in zip(elements, densities, strict=True)]
        index, values = torch.empty(sum(kept), dtype=torch.int64), torch.empty(sum(kept), dtype=torch.float32)
        self._library.entries(elements, patch, index.data_ptr(), values.data_ptr(), self._run())
        parts = zip(layout.names, torch.split(index, kept), torch.split(values, kept), strict=True)
        return {name: Entries(positions, part) for name, positions, part in parts}

    def accumulate(self, into: dict[str, Tensor], parts: Sequence[tuple[Buffer, float]], layout: Layout) -> None:
        if not _on_cpu(into):
            return super().accumulate(into, parts, layout)
        held = [bytes(payload) for payload, _ in parts]
        patches = [_patch(data, patch_header(data, layout), weight) for data, (_, weight) in zip(held, parts, strict=True)]
        addresses = [into[name].data_ptr() for name in layout.names]
        self._library.accumulate(_elements(layout), patches, addresses, self._run())
        return None

    def _run(self) -> Run:
        return Run(self._threads or min(_processors(), torch.get_num_threads()), self._instructions)

    def _sealed(self, payload: npt.NDArray[np.uint8], kind: Kind, value_bits: int, layout: Layout) -> bytes:
        header = Header(kind, value_bits, layout.numel(), chunk_count(layout), layout.digest())
        payload[:HEADER_BYTES] = np.frombuffer(header.pack(), np.uint8)
        self._library.seal(payload.ctypes.data, len(payload))
        return payload.tobytes()


class _Input:
    """A tensor's contiguous parts, kept alive, and their addresses."""

    def __init__(self, delta: Tensor, residual: Tensor | None, out: Tensor) -> None:
        self._kept = [tensor.contiguous() for tensor in (delta, residual) if tensor is not None]
        addresses = [tensor.data_ptr() for tensor in self._kept]
        before = addresses[1] if residual is not None else None
        self.source = Source(addresses[0], before, out.data_ptr(), int(delta.dtype == torch.bfloat16))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _on_cpu(*tensors: Tensors) -> bool:
    return all(tensor.device.type == "cpu" for part in tensors for tensor in part.values())


def _elements(layout: Layout) -> list[int]:
    return [math.prod(shape) for _, shape in layout.tensors]


def _kept(elements: int, density: int) -> int:
    full, tail = divmod(elements, CHUNK)
    return full * Form.of(CHUNK, density, 1).kept + (Form.of(tail, density, 1).kept if tail else 0)


def _patch(payload: bytes, header: Header, weight: float) -> Patch:
    address = ctypes.cast(ctypes.c_char_p(payload), ctypes.c_void_p).value
    return Patch(address, len(payload), header.kind, header.value_bits, weight, 0)
