"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal, so that rare directions move as far as common ones.

`torch.optim.Muon` is left aside for the reasons that adamw.py tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby

import torch
from torch import Tensor, nn

from .adamw import AdamW
from .models import LanguageModel

_MOMENTUM = 0.95
_ITERATIONS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_EPSILON = 1e-7
_RMS = 0.2
"""An update's root mean square, about that of AdamW's: both take the same rate and decay (Liu et al. 2025, section 2.2)."""
_PREFIX = "momentum/"


class Muon:
    """An `Optimiser`: Muon with Nesterov momentum for `model`'s hidden matrices, AdamW for embeddings, head, norms and biases.

    Parameters and momentum are float32 and on one device. Of a matrix that holds queries, keys and values, the three are taken
    one by one.
    """

    def __init__(self, model: LanguageModel, betas: tuple[float, float], weight_decay: float) -> None:
        parameters = model.weights()
        self._matrices = hidden_matrices(model)
        self._others = AdamW({name: p for name, p in parameters.items() if name not in self._matrices}, betas, weight_decay)
        self._weight_decay = weight_decay
        self._momentum = {name: torch.zeros_like(matrix) for name, matrix in self._matrices.items()}

    def follow(self, betas: tuple[float, float], weight_decay: float) -> None:
        self._others.follow(betas, weight_decay)
        self._weight_decay = weight_decay

    def reset(self) -> None:
        self._others.reset()
        torch._foreach_zero_(list(self._momentum.values()))

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor], rate: float) -> None:
        self._others.step(gradients, rate)
        of_matrices = [gradients[name] for name in self._matrices]
        momentum = list(self._momentum.values())
        torch._foreach_lerp_(momentum, of_matrices, 1 - _MOMENTUM)
        wanted = torch._foreach_lerp(of_matrices, momentum, _MOMENTUM)
        torch._foreach_mul_(list(self._matrices.values()), 1 - rate * self._weight_decay)
        pairs = [
            pair
            for matrix, direction in zip(self._matrices.values(), wanted, strict=True)
            for pair in zip(_parts(matrix), _parts(direction), strict=True)
        ]
        for shape, members in groupby(sorted(pairs, key=_shape), _shape):
            parts, directions = zip(*members, strict=True)
            updates = orthogonal(torch.stack(directions)).unbind()
            torch._foreach_add_(parts, updates, alpha=-rate * _RMS * math.sqrt(max(shape)))

    def tensors(self) -> dict[str, Tensor]:
        return {**self._others.tensors(), **{_PREFIX + name: tensor.cpu() for name, tensor in self._momentum.items()}}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {**self._others.shapes(), **{_PREFIX + name: tuple(matrix.shape) for name, matrix in self._matrices.items()}}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        self._others.load(tensors)
        for name, momentum in self._momentum.items():
            momentum.copy_(tensors[_PREFIX + name])


def hidden_matrices(model: LanguageModel) -> dict[str, nn.Parameter]:
    """Return the matrices that map one hidden state to another: neither tables nor a head of the vocabulary's size."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return {
        name: p
        for name, p in model.weights().items()
        if p.ndim == 2 and id(p) not in tables and model.vocabulary not in p.shape and min(p.shape) > 1
    }


def orthogonal(matrices: Tensor) -> Tensor:
    """Return nearly U Vᵀ for each U S Vᵀ of `matrices`, float32 (count, rows, columns): its singular values are 0.7 to 1.2.

    Newton–Schulz iterations of the fifth order, in bfloat16 on a GPU as their authors run them.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = (matrices.mT if tall else matrices) / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=_EPSILON)
    x = x.bfloat16() if x.is_cuda else x
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    result = x.mT if tall else x
    return result.float()


def _parts(matrix: Tensor) -> tuple[Tensor, ...]:
    rows, columns = matrix.shape
    return matrix.chunk(3) if rows == 3 * columns else (matrix,)


def _shape(pair: tuple[Tensor, Tensor]) -> tuple[int, ...]:
    return tuple(pair[0].shape)
