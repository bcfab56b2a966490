"""How far a change moved each tensor."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Move:
    """One tensor's: how many of its `size` coordinates moved, the L2 norm of it all, and the largest move, with its sign."""

    tensor: str
    size: int
    coordinates: int
    norm: float
    largest: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values."""
        return {
            "tensor": self.tensor, "size": self.size, "coordinates": self.coordinates, "norm": self.norm, "largest": self.largest,
        }  # fmt: skip


def moves_of(change: Mapping[str, Tensor]) -> list[Move]:
    """Return the moves of every tensor that moved, the farthest first."""
    moves = [_move(name, tensor) for name, tensor in change.items()]
    return sorted((move for move in moves if move.coordinates), key=lambda move: (-move.norm, move.tensor))


def _move(name: str, tensor: Tensor) -> Move:
    from ...kernels.canonical import sum_of_squares

    flat = tensor.reshape(-1)
    largest = float(flat[flat.abs().argmax()]) if flat.numel() else 0.0
    return Move(name, flat.numel(), int(flat.count_nonzero()), math.sqrt(sum_of_squares(flat)), largest)


def summed(moves: Iterable[Move], tensor: str = "total") -> Move:
    """Return all of the moves as one."""
    listed = list(moves)
    return Move(
        tensor, sum(move.size for move in listed), sum(move.coordinates for move in listed),
        math.hypot(*(move.norm for move in listed)), max((move.largest for move in listed), key=abs, default=0.0),
    )  # fmt: skip


def matching(names: Collection[str], pattern: str) -> list[str]:
    """Return the tensors that `pattern` names: one name, or a shell pattern such as `layers.0.*`. Raises UserError if none."""
    found = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)]
    if not found:
        near = [name for name in names if pattern.strip("*") in name][:3] or sorted(names)[:3]
        raise UserError(f"the model has no tensor {pattern!r}", f"it has {len(names)}, such as {', '.join(near)}")
    return found
