"""Experts in a base: beside a layer's own feed-forward network, while the version is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError
from ...modules.expert import WEIGHTS, check_expert
from ..gates.version import Version
from ..models import FeedForward, LanguageModel
from .tensors import load_tensors, require_width


@dataclass(frozen=True)
class Mixture:
    """One layer's experts. `router` is (experts + 1, width); a network is (in weight, in bias, out weight, out bias)."""

    place: FeedForward
    top_k: int
    router: Tensor
    networks: tuple[tuple[Tensor, Tensor | None, Tensor, Tensor | None], ...]

    def mix(self, hidden: Tensor, own: Tensor) -> Tensor:
        """Return what comes out of the layer for `hidden`, (…, width), where `own` is its own network's answer."""
        chosen, at = F.linear(hidden, self.router).topk(self.top_k)
        parts = torch.zeros(*hidden.shape[:-1], len(self.router), device=hidden.device).scatter(-1, at, chosen.softmax(-1))
        mixed = own * parts[..., :1]
        for number, (enter, enter_bias, leave, leave_bias) in enumerate(self.networks, start=1):
            answer = F.linear(self.place.activation(F.linear(hidden, enter, enter_bias)), leave, leave_bias)
            mixed = mixed + answer * parts[..., number : number + 1]
        return mixed

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Answer in the place of the layer's own network in this block."""
        seen: list[Tensor] = []

        def enters(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            seen.append(arguments[0])

        def leaves(module: nn.Module, arguments: tuple[Any, ...], own: Tensor) -> Tensor:
            return self.mix(seen.pop(), own)

        hooks = [self.place.enter.register_forward_pre_hook(enters), self.place.leave.register_forward_hook(leaves)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


class WithExperts(Version):
    """A base with mixtures in some of its layers."""

    def __init__(self, model: LanguageModel, weights: Mapping[str, Tensor], state: bytes, mixtures: list[Mixture]) -> None:
        super().__init__(model, weights, state)
        self._mixtures = mixtures

    def _read(self, reading: str, inputs: Tensor) -> Tensor:
        with ExitStack() as stack:
            for mixture in self._mixtures:
                stack.enter_context(mixture.in_place())
            return super()._read(reading, inputs)


def with_experts(model: LanguageModel, weights: Mapping[str, Tensor], state: bytes, folder: Path) -> Version:
    """Return the base with the experts in it. Raises UserError."""
    experts, places = check_expert(folder), model.feed_forwards()
    if not places:
        raise UserError("the base is of a family of models that takes no extra experts")
    for layer, (width, _) in experts.layers.items():
        if layer not in places:
            raise UserError(f"the base has no layer {layer[:80]!r}, which the experts are for")
        require_width(f"an expert of {layer}", width, model.width)
    tensors = load_tensors(folder / WEIGHTS, next(model.parameters()).device)
    mixtures = [
        Mixture(places[layer], experts.config.top_k, tensors[f"{layer}.router.weight"], tuple(
            _network(tensors, f"{layer}.experts.{number}") for number in range(1, count + 1)
        ))
        for layer, (_, count) in experts.layers.items()
    ]  # fmt: skip
    return WithExperts(model, weights, state, mixtures)


def _network(tensors: Mapping[str, Tensor], stem: str) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    names = ("in.weight", "in.bias", "out.weight", "out.bias")
    enter, enter_bias, leave, leave_bias = (tensors.get(f"{stem}.{name}") for name in names)
    assert enter is not None
    assert leave is not None
    return enter, enter_bias, leave, leave_bias
