"""The inner optimiser of one trainer: what each kind offers, and the kinds there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from ...protocol.event import InnerOptimiser
from .adamw import AdamW
from .models import LanguageModel
from .muon import Muon


class Optimiser(Protocol):
    """The inner optimiser of one trainer. Parameters and moments are float32 and on one device."""

    def follow(self, betas: tuple[float, float], weight_decay: float) -> None:
        """Take the next steps with these; the moments stay."""

    def reset(self) -> None:
        """Forget all moments."""

    def step(self, gradients: Mapping[str, Tensor], rate: float) -> None:
        """Take one step with learning rate `rate`."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the moments and the step count as float32 CPU tensors, for a checkpoint."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of `tensors()`."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors()` returned."""


def make_optimiser(inner: InnerOptimiser, model: LanguageModel) -> Optimiser:
    """Return the event's optimiser of the model's trainable parameters, without moments."""
    if inner.kind == "muon":
        return Muon(model, inner.betas, inner.weight_decay)
    return AdamW(model.weights(), inner.betas, inner.weight_decay)
