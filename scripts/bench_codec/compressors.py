"""Ways to send an update, all with error feedback.

What arrives is a payload of our format, which the merges take; other formats differ in what they would have cost on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from collab import kernels
from collab.kernels import Codec, Layout

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Sent:
    """What one worker sent, what it keeps back, and the bits on the wire."""

    payload: bytes
    residual: dict[str, Tensor]
    bits: int


class Compressor(Protocol):
    """Makes an update smaller. `progress` is the share of the run that is over, 0 to 1."""

    def send(self, delta: Weights, residual: Weights | None, progress: float) -> Sent:
        """Return what is sent of a pseudo-gradient and of what earlier rounds left out."""
        ...


@dataclass(frozen=True)
class Patch:
    """The format of docs/WIRE_FORMAT.md. The density falls from `codec` to `last_codec`, if given, in the middle of the run."""

    codec: Codec
    last_codec: Codec | None = None

    def send(self, delta: Weights, residual: Weights | None, progress: float) -> Sent:
        codec = self.last_codec if self.last_codec is not None and progress >= 0.5 else self.codec
        payload, left = kernels.compress(delta, residual, codec)
        return Sent(payload, left, 8 * len(payload))


@dataclass(frozen=True)
class RawIndices:
    """The same patches with 12 bits an index and two bf16 scales a chunk, as SparseLoCo sends them (Sarfi et al. 2025)."""

    codec: Codec

    def send(self, delta: Weights, residual: Weights | None, progress: float) -> Sent:
        payload, left = kernels.compress(delta, residual, self.codec)
        entries = kernels.backend().entries(payload, Layout.of(delta))
        kept = sum(part.values.numel() for part in entries.values())
        chunks = sum(-(-tensor.numel() // 4096) for tensor in delta.values())
        bits = kept * (12 + self.codec.value_bits) + chunks * 32
        return Sent(payload, left, bits)


class Sign:
    """A sign for every value and a mean magnitude for every tensor, a half (EF-signSGD, Karimireddy et al. 2019)."""

    def send(self, delta: Weights, residual: Weights | None, progress: float) -> Sent:
        total = {name: value if residual is None else residual[name] + value for name, value in delta.items()}
        signs = {name: torch.where(value < 0, -1.0, 1.0) * value.abs().mean() for name, value in total.items()}
        payload, _ = kernels.compress(signs, None, Codec("fp16"))
        update = kernels.decompress(payload, Layout.of(delta))
        bits = sum(value.numel() + 16 for value in total.values())
        return Sent(payload, {name: total[name] - update[name] for name in total}, bits)
