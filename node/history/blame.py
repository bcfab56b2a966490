"""Who moved a tensor, how far, and in which commits."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...protocol.commit import Commit
from .moves import Move, moves_of, summed
from .payloads import Payloads

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Credit:
    """What one contributor did to the tensors in question. `moves` are by commit, in the order in which they were added."""

    peer: str
    moves: list[tuple[Commit, Move]] = field(default_factory=list)
    coordinates: int = 0
    """Distinct ones."""

    @property
    def squares(self) -> float:
        """Sum over the commits of the squared norm of what this contributor moved."""
        return math.fsum(move.norm**2 for _, move in self.moves)

    @property
    def norm(self) -> float:
        """Square root of `squares`."""
        return math.sqrt(self.squares)

    @property
    def rounds(self) -> list[int]:
        """The rounds in which it moved something, ascending."""
        return sorted({commit.round for commit, _ in self.moves})


def blame(payloads: Payloads, commits: Iterable[Commit], tensors: Collection[str]) -> list[Credit]:
    """Return everybody who moved one of `tensors`, who moved most first. Raises UserError if a payload is not here."""
    credits: dict[str, Credit] = {}
    touched: dict[str, dict[str, Tensor]] = {}
    for commit in commits:
        for peer, change in payloads.changes(commit):
            chosen = {name: change[name] for name in tensors}
            move = summed(moves_of(chosen))
            if move.coordinates:
                credits.setdefault(peer, Credit(peer)).moves.append((commit, move))
                _mark(touched.setdefault(peer, {}), chosen)
    for peer, credit in credits.items():
        credit.coordinates = sum(int(mask.count_nonzero()) for mask in touched[peer].values())
    return sorted(credits.values(), key=lambda credit: (-credit.squares, credit.peer))


def _mark(masks: dict[str, Tensor], change: dict[str, Tensor]) -> None:
    for name, tensor in change.items():
        mask = tensor != 0
        masks[name] = masks[name] | mask if name in masks else mask


def shares_of(credits: Iterable[Credit]) -> list[float]:
    """Return each one's share of all squared norms together; zeros where nothing can be told from nothing."""
    squares = [credit.squares for credit in credits]
    whole = math.fsum(squares)
    return [square / whole if whole else 0.0 for square in squares]


def blame_fields(credits: list[Credit], tensors: Collection[str], size: int) -> dict[str, Any]:
    """Return plain values; `share` is of the squared norms of all contributors together."""
    return {
        "tensors": list(tensors),
        "size": size,
        "contributors": [
            {
                "peer": credit.peer,
                "share": share,
                "norm": credit.norm,
                "coordinates": credit.coordinates,
                "commits": [
                    {
                        "commit": commit.digest.hex(), "round": commit.round, "norm": move.norm,
                        "coordinates": move.coordinates, "largest": move.largest,
                    }
                    for commit, move in credit.moves
                ],
            }
            for credit, share in zip(credits, shares_of(credits), strict=True)
        ],
    }  # fmt: skip
