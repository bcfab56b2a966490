"""What a proposal's maker measures about its model for a merge: the Fisher diagonal, and the inputs of its linear layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from ...kernels import NonFiniteError, PayloadError, grams
from ...kernels import fisher as fishers
from ..files import atomic_write
from .data import Batch
from .errors import WorkerError
from .evaluate import by_own_name
from .messages import Measure, Measured
from .models import LanguageModel
from .session import Session
from .tensor_file import read_tensors


def measure(session: Session, request: Measure) -> Measured:
    """See messages.Measure. The model is not changed."""
    batches = session.require_batches()
    batch = batches.draw(session.event.digest, request.round, request.peer_id, 0, min(request.samples, batches.samples))
    weights = read_tensors(Path(request.weights), session.shapes)
    diagonal, matrices = statistics(session.model, weights, batch)
    try:
        atomic_write(Path(request.fisher_path), fishers.encode(diagonal, request.form, Path(request.path).read_bytes()))
        atomic_write(Path(request.grams_path), grams.encode(matrices))
    except NonFiniteError as error:
        raise WorkerError("non_finite", f"its statistics cannot be measured: {error}") from error
    except PayloadError as error:
        raise WorkerError("bad_payload", str(error)) from error
    names = {name for name, module in _linear_layers(session.model) if module.in_features > grams.MOST_INPUTS}
    return Measured(without=tuple(sorted(names)))


def statistics(
    model: LanguageModel, weights: dict[str, Tensor], batch: Batch
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the Fisher diagonal and the Gram matrices of `weights`, float32 on the CPU, by the weights' names.

    The diagonal is the mean over samples (blocks) of the squared gradient of a block's mean loss; a matrix is the mean of xxᵀ
    over all positions of all samples. The model is not changed.
    """
    device = next(model.parameters()).device
    stand_in = {name: tensor.requires_grad_() for name, tensor in by_own_name(model, weights, device).items()}
    shared = {id(p): name for name, p in model.weights().items()}
    names = [shared[id(p)] for name, p in model.named_parameters() if name in stand_in]
    diagonal = {name: torch.zeros_like(tensor, device=device) for name, tensor in weights.items()}
    training = model.training
    model.eval()
    with _watched(model) as inputs:
        for sample in batch.split(1):
            here = sample.to(device)
            loss: Tensor = torch.func.functional_call(model, stand_in, (here.inputs, here.targets))
            gradients = torch.autograd.grad(loss, list(stand_in.values()), materialize_grads=True)
            fishers.accumulate(diagonal, dict(zip(names, gradients, strict=True)))
    model.train(training)
    fisher = {name: (tensor / len(batch)).cpu() for name, tensor in diagonal.items()}
    return fisher, {name: seen.mean() for name, seen in inputs.items()}


class _Inputs:
    """The running sum of xxᵀ over a layer's inputs, in float64."""

    def __init__(self, size: int) -> None:
        self._sum = torch.zeros(size, size, dtype=torch.float64)
        self._count = 0

    @torch.no_grad()
    def add(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        """Take in what a layer is called with, (…, inputs)."""
        rows = arguments[0].detach().reshape(-1, self._sum.shape[0]).double()
        self._sum += (rows.T @ rows).cpu()
        self._count += len(rows)

    def mean(self) -> Tensor:
        """(inputs, inputs), float32."""
        return (self._sum / max(1, self._count)).float()


@contextmanager
def _watched(model: LanguageModel) -> Iterator[dict[str, _Inputs]]:
    """Sum up what goes into each linear layer while the block runs, by the name of its weight."""
    inputs: dict[str, _Inputs] = {}
    hooks = []
    for name, module in _linear_layers(model):
        if module.in_features <= grams.MOST_INPUTS:
            inputs[name] = inputs.get(name) or _Inputs(module.in_features)
            hooks.append(module.register_forward_pre_hook(inputs[name].add))
    try:
        yield inputs
    finally:
        for hook in hooks:
            hook.remove()


def _linear_layers(model: LanguageModel) -> Iterator[tuple[str, nn.Linear]]:
    """Yield the linear layers whose weight is trained, each with the weight's name in the shared state."""
    shared = {id(p): name for name, p in model.weights().items()}
    for module in model.modules():
        if isinstance(module, nn.Linear) and id(module.weight) in shared:
            yield shared[id(module.weight)], module
