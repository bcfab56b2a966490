"""A head in a base: another table that tokens are read by, another that scores them, or labels for whole texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError
from ...modules.head import WEIGHTS, Head, check_head
from ..gates.version import BroughtHead, Version
from ..models import LanguageModel
from .tensors import load_tensors, require_width


class WithHead(Version):
    """A base with a head's tensors, each where it belongs."""

    def __init__(
        self, model: LanguageModel, weights: Mapping[str, Tensor], state: bytes, tensors: Mapping[str, Tensor]
    ) -> None:
        super().__init__(model, weights, state)
        self._table = model.token_embedding()
        self._input = tensors.get("input.weight")
        self._output = tensors.get("output.weight")
        self._output_bias = tensors.get("output.bias")

    def logits(self, inputs: Tensor) -> Tensor:
        """See LanguageModel.logits: the head's, where it scores tokens."""
        return super().logits(inputs) if self._output is None else F.linear(self.hidden(inputs), self._output, self._output_bias)

    def _read(self, reading: str, inputs: Tensor) -> Tensor:
        if self._input is None:
            return super()._read(reading, inputs)
        table = self._input

        def looks_up(module: nn.Module, arguments: tuple[Any, ...], own: Tensor) -> Tensor:
            return F.embedding(arguments[0], table)

        with self._table.register_forward_hook(looks_up):
            return super()._read(reading, inputs)


def with_head(model: LanguageModel, weights: Mapping[str, Tensor], state: bytes, folder: Path) -> Version:
    """Return the base with the head. Raises UserError."""
    head = check_head(folder)
    _check_fit(model, head)
    tensors = load_tensors(folder / WEIGHTS, next(model.parameters()).device)
    made = WithHead(model, weights, state, tensors)
    if (classes := tensors.get("classes.weight")) is not None:
        bias = tensors.get("classes.bias", torch.zeros(len(classes), device=classes.device))
        made.head = BroughtHead(head.config.labels, torch.cat([classes, bias[:, None]], dim=1).double().cpu())
    return made


def _check_fit(model: LanguageModel, head: Head) -> None:
    table = tuple(model.token_embedding().weight.shape)
    wanted = {"input.weight": table, "output.weight": (model.vocabulary, model.width)}
    for name, shape in wanted.items():
        if (found := head.shapes.get(name, shape)) != shape:
            raise UserError(f"the head's {name} is {found}, and the base needs {shape}")
    if (classes := head.shapes.get("classes.weight")) is not None:
        require_width("the head", classes[1], model.width)
