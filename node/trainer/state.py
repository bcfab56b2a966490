"""The shared state: the weights that every node holds bit for bit, and what the outer optimiser keeps about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...protocol import merkle
from ...protocol.event import OuterOptimiser
from .tensor_file import Shapes, read_tensors, write_tensors

_MOMENTUM = "outer.momentum/"


@dataclass(frozen=True)
class SharedState:
    """Weights and, for the Nesterov outer optimiser, momentum: float32 tensors on the CPU, by parameter name, sorted.

    Nothing changes a state in place: a merge makes a new one, and what it did not change it may share.
    """

    weights: dict[str, Tensor]
    momentum: dict[str, Tensor] | None = None

    @classmethod
    def start(cls, weights: Mapping[str, Tensor], outer: OuterOptimiser) -> SharedState:
        """Return the state of a new run: copies of `weights`, and no momentum yet (zeros, where the recipe has any)."""
        copies = {name: weights[name].detach().to("cpu", torch.float32, copy=True) for name in sorted(weights)}
        if outer.kind == "nesterov":
            return cls(copies, {name: torch.zeros_like(weight) for name, weight in copies.items()})
        return cls(copies)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by the names that snapshots and the state hash use, sorted."""
        momentum = {_MOMENTUM + name: tensor for name, tensor in (self.momentum or {}).items()}
        return dict(sorted({**self.weights, **momentum}.items()))

    def hash(self) -> bytes:
        """Return the state hash: the Merkle root over the names, shapes and little-endian float32 bytes."""
        return merkle.state_hash((name, tuple(t.shape), buffer_of(t)) for name, t in self.tensors().items())

    def write(self, path: Path, weights_only: bool = False) -> None:
        """Write a snapshot, atomically; the same state gives the same bytes."""
        write_tensors(path, self.weights if weights_only else self.tensors())

    @classmethod
    def read(cls, path: Path, weights: Shapes, outer: OuterOptimiser, weights_only: bool = False) -> SharedState:
        """Read a snapshot of the model whose weights' shapes are `weights`. Raises WorkerError("bad_tensors")."""
        if weights_only:
            return cls.start(read_tensors(path, weights), outer)
        return cls.of_tensors(read_tensors(path, shapes_of_state(weights, outer)), weights)

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], weights: Shapes) -> SharedState:
        """Build from what `tensors()` returned; other names are left alone."""
        momentum = {name: tensors[_MOMENTUM + name] for name in sorted(weights) if _MOMENTUM + name in tensors}
        return cls({name: tensors[name] for name in sorted(weights)}, momentum or None)


def shapes_of_state(weights: Shapes, outer: OuterOptimiser) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a state, by their names in snapshots."""
    momentum = {_MOMENTUM + name: shape for name, shape in weights.items()} if outer.kind == "nesterov" else {}
    return {**weights, **momentum}


def buffer_of(tensor: Tensor) -> memoryview:
    """Return the little-endian float32 bytes of a CPU tensor, without a copy where the machine is little-endian."""
    return np.ascontiguousarray(tensor.detach().numpy().reshape(-1), dtype="<f4").data.cast("B")
