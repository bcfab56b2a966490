"""What a merge of models takes from each party: what it changed, its say, and what it measured about its weights.

A whole model and a patch become the same thing here, so that every method works on both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..entry import decompress, decompress_on_support
from ..errors import NonFiniteError
from ..floats import finite, scalar
from ..layout import Buffer, Layout, Tensors
from ..seam import Backend


@dataclass(frozen=True)
class Update:
    """One party's change of the base. Raises `NonFiniteError`, or `ValueError` on a weight that is not positive and finite.

    `delta`: base − its weights (float32), a pseudo-gradient. `weight`: its say, only relative to the others'; samples, say.
    `fisher`: the diagonal of its Fisher information, a mean over samples, at least 0, of the delta's layout.
    `grams`: for a linear layer's weight (out, in), the mean over samples of xxᵀ of its input x: symmetric (in, in).
    `key`: tells the parties apart where a method draws at random (`dare`); the hash of what they sent.
    """

    delta: Tensors
    weight: float = 1.0
    fisher: Tensors | None = None
    grams: Tensors | None = None
    key: bytes = b""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"an update's weight must be positive and finite, not {self.weight}")
        for what, tensors in (("update", self.delta), ("Fisher", self.fisher), ("Gram matrix", self.grams)):
            for name, tensor in (tensors or {}).items():
                if not finite(tensor):
                    raise NonFiniteError(f"the {what} of {name!r} is not finite")
        if self.fisher is not None:
            Layout.of(self.delta).require(self.fisher, "the Fisher diagonal")
            if any(bool((tensor < 0).any()) for tensor in self.fisher.values()):
                raise ValueError("a Fisher diagonal is not negative anywhere")
        for name, gram in (self.grams or {}).items():
            self._require_gram(name, gram)

    def _require_gram(self, name: str, gram: Tensor) -> None:
        shape = self.delta[name].shape if name in self.delta else ()
        if len(shape) != 2 or tuple(gram.shape) != (shape[1], shape[1]):
            raise ValueError(f"the Gram matrix of {name!r} does not fit a linear layer's weight of shape {tuple(shape)}")

    @classmethod
    def of_model(
        cls,
        base: Tensors,
        weights: Tensors,
        weight: float = 1.0,
        *,
        fisher: Tensors | None = None,
        grams: Tensors | None = None,
        key: bytes = b"",
    ) -> Update:
        """A whole model, of the base's layout (`ValueError` if not)."""
        Layout.of(base).require(weights, "a model")
        return cls({name: base[name] - weights[name] for name in sorted(base)}, weight, fisher, grams, key)

    @classmethod
    def of_patch(
        cls,
        layout: Layout,
        payload: Buffer,
        weight: float = 1.0,
        *,
        fisher: Buffer | None = None,
        grams: Tensors | None = None,
        key: bytes = b"",
        backend: Backend | None = None,
    ) -> Update:
        """A patch, and maybe its Fisher payload. Raises `PayloadError` if one does not decode."""
        diagonal = None if fisher is None else decompress_on_support(fisher, payload, layout, backend=backend)
        return cls(decompress(payload, layout, backend=backend), weight, diagonal, grams, key)


def shares(updates: Sequence[Update]) -> list[float]:
    """Their weights over the weights' sum, which no order changes."""
    whole = math.fsum(update.weight for update in updates)
    return [update.weight / whole for update in updates]


def combine(deltas: Sequence[Tensors], factors: Sequence[float]) -> dict[str, Tensor]:
    """Σ float32(factor) · delta in the order given: a product, then a sum, in float32."""
    names = sorted(deltas[0])
    first, *others = factors
    merged = {name: scalar(first) * deltas[0][name] for name in names}
    for delta, factor in zip(deltas[1:], others, strict=True):
        for name in names:
            merged[name] = merged[name] + scalar(factor) * delta[name]
    return merged


def require_number(what: str, value: float, least: float, most: float) -> None:
    """Raise `ValueError` unless least ≤ value ≤ most."""
    if not least <= value <= most:
        raise ValueError(f"{what} must be between {least:g} and {most:g}, not {value}")
