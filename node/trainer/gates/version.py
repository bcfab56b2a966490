"""A set of weights that stands in for the model's own while it is read, in float32 and without dropout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..models import LanguageModel


class _Readings(nn.Module):
    """Gives `torch.func.functional_call`, which only knows `forward`, the model's other readings."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, reading: str, inputs: Tensor) -> Tensor:
        read: Tensor = getattr(self.model, reading)(inputs)
        return read


@dataclass(frozen=True)
class BroughtHead:
    """A head that came with a version: `weight` is (labels, width + 1) in float64 on the CPU, its last column the bias."""

    labels: tuple[str, ...]
    weight: Tensor


class Version:
    """One version of a model. `state` is its state hash; the weights are copied to the model's device once.

    `head` answers for the version where a gate asks for labels; without one, a gate trains one on its features.
    """

    head: BroughtHead | None = None

    def __init__(self, model: LanguageModel, weights: Mapping[str, Tensor], state: bytes) -> None:
        self.state = state
        self.device = next(model.parameters()).device
        shared = {id(parameter): name for name, parameter in model.weights().items()}
        own = ((name, shared[id(p)]) for name, p in model.named_parameters() if id(p) in shared)
        self._weights = {f"model.{name}": weights[known].to(self.device) for name, known in own}
        self._readings = _Readings(model)

    def logits(self, inputs: Tensor) -> Tensor:
        """See LanguageModel.logits; float32, on the model's device."""
        return self._read("logits", inputs)

    def hidden(self, inputs: Tensor) -> Tensor:
        """See LanguageModel.hidden; float32, on the model's device."""
        return self._read("hidden", inputs)

    def _read(self, reading: str, inputs: Tensor) -> Tensor:
        read: Tensor = torch.func.functional_call(self._readings, self._weights, (reading, inputs.to(self.device)))
        return read.float()


@contextmanager
def reading(model: LanguageModel) -> Iterator[None]:
    """Neither train nor keep gradients in this block."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
