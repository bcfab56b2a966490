"""AdamW with decay on matrices only (Loshchilov & Hutter 2019), on torch's fused kernels for CPU and CUDA.

`torch.optim` is left aside for two reasons that were measured: making its first optimiser imports torch's compiler, 1.2 s of
a volunteer's start; and a checkpoint wants the moments as plain tensors by parameter name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_EPSILON = 1e-8
_FIRST, _SECOND, _STEPS = "first/", "second/", "steps"


class AdamW:
    """An `Optimiser` that treats all parameters alike, but for the decay."""

    def __init__(self, parameters: Mapping[str, Tensor], betas: tuple[float, float], weight_decay: float) -> None:
        self._parameters = dict(parameters)
        self.follow(betas, weight_decay)
        self.reset()

    def follow(self, betas: tuple[float, float], weight_decay: float) -> None:
        self._betas = betas
        self._weight_decay = weight_decay

    def reset(self) -> None:
        with torch.no_grad():
            self._first = {name: torch.zeros_like(p) for name, p in self._parameters.items()}
            self._second = {name: torch.zeros_like(p) for name, p in self._parameters.items()}
        devices = {name: p.device for name, p in self._parameters.items()}
        self._steps = {name: torch.zeros((), device=device) for name, device in devices.items()}

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], rate: float) -> None:
        matrices = [name for name, p in self._parameters.items() if p.ndim >= 2]
        vectors = [name for name, p in self._parameters.items() if p.ndim < 2]
        for names, decay in ((matrices, self._weight_decay), (vectors, 0.0)):
            if names:
                self._step(names, gradients, rate, decay)

    def _step(self, names: Sequence[str], gradients: Mapping[str, Tensor], rate: float, decay: float) -> None:
        steps = [self._steps[name] for name in names]
        torch._foreach_add_(steps, 1.0)
        torch._fused_adamw_(
            [self._parameters[name] for name in names],
            # The fused kernel takes memory as it comes: a transposed gradient would be applied to the wrong elements.
            [gradients[name].contiguous() for name in names],
            [self._first[name] for name in names],
            [self._second[name] for name in names],
            [],
            steps,
            lr=rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self) -> dict[str, Tensor]:
        first = {_FIRST + name: tensor.cpu() for name, tensor in self._first.items()}
        second = {_SECOND + name: tensor.cpu() for name, tensor in self._second.items()}
        return {**first, **second, _STEPS: next(iter(self._steps.values())).cpu()}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        both = {prefix + name: tuple(p.shape) for prefix in (_FIRST, _SECOND) for name, p in self._parameters.items()}
        return {**both, _STEPS: ()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        for name in self._parameters:
            self._first[name].copy_(tensors[_FIRST + name])
            self._second[name].copy_(tensors[_SECOND + name])
            self._steps[name].copy_(tensors[_STEPS])
