"""Held-out loss, of the model's own weights or of others that stand in for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .data import Batch
from .models import LanguageModel


@torch.no_grad()
def mean_loss(
    model: LanguageModel, batches: Iterable[Batch], weights: Mapping[str, Tensor] | None = None, bf16: bool = False
) -> tuple[float, int]:
    """Return the mean loss in nats a token over `batches`, and the number of tokens. The model is not changed."""
    device = next(model.parameters()).device
    stand_in = by_own_name(model, weights, device) if weights is not None else {}
    loss, tokens = 0.0, 0
    training = model.training
    model.eval()
    for batch in batches:
        here = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value = torch.func.functional_call(model, stand_in, (here.inputs, here.targets))
        loss += float(value) * batch.tokens
        tokens += batch.tokens
    model.train(training)
    return loss / max(1, tokens), tokens


def by_own_name(model: LanguageModel, weights: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return `weights` by the names that torch knows the parameters by, which may differ from those in the shared state."""
    shared_name = {id(parameter): name for name, parameter in model.weights().items()}
    own = {name: p for name, p in model.named_parameters() if id(p) in shared_name}
    return {name: weights[shared_name[id(p)]].to(device) for name, p in own.items()}
