"""Extra experts: more feed-forward networks beside a layer's own, mixed by a router (Shazeer et al. 2017,
https://arxiv.org/abs/1701.06538; beside a dense network, as in sparse upcycling: https://arxiv.org/abs/2212.05055).

`expert.json` has `top_k`; the tensors of `expert.safetensors` are, for each layer of the base that has experts,
`LAYER.router.weight` ((experts + 1) × width; row 0 stands for the layer's own network, row N for expert N),
`LAYER.experts.N.in.weight` (inner × width), `LAYER.experts.N.out.weight` (width × inner), and where they have biases
`…in.bias` and `…out.bias`. Layers are named as the base names them: `layers.0` and so on (gpt), `layer` (albert).

A layer's output is Σ pᵢ(x)·Eᵢ(x) over the `top_k` networks with the largest router scores, p the softmax of those scores.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..errors import UserError
from .reading import Header, read_config, read_headers

CONFIG = "expert.json"
WEIGHTS = "expert.safetensors"
_HINT = "docs/RELEASES.md says what stands in an expert's package"
_NAME = re.compile(r"(?P<layer>.+)\.(?:router\.weight|experts\.(?P<number>[1-9][0-9]{0,3})\.(?:in|out)\.(?:weight|bias))")


class ExpertConfig(BaseModel):
    """What expert.json says."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    top_k: Annotated[int, Field(ge=1, le=10_000)]


@dataclass(frozen=True)
class Experts:
    """A checked package of experts: `layers` are (width, number of experts) by the layer's name in the base."""

    config: ExpertConfig
    layers: dict[str, tuple[int, int]]


def check_expert(folder: Path) -> Experts:
    """Read the configuration and the tensors' shapes, none of the weights. Raises UserError."""
    config, headers = read_config(folder / CONFIG, ExpertConfig, _HINT), read_headers(folder / WEIGHTS, _HINT)
    layers: dict[str, set[int]] = {}
    for name, header in headers.items():
        found = _NAME.fullmatch(name)
        if found is None or not header.is_float:
            raise UserError(f"{folder / WEIGHTS}: {name[:80]} is no part of an expert", _HINT)
        layers.setdefault(found["layer"], set()).update({int(found["number"])} if found["number"] else ())
    if not layers:
        raise UserError(f"{folder / WEIGHTS} is empty", _HINT)
    return Experts(config, {layer: _layer(folder, headers, layer, layers[layer], config.top_k) for layer in sorted(layers)})


def _layer(folder: Path, headers: dict[str, Header], layer: str, numbers: set[int], top_k: int) -> tuple[int, int]:
    router = headers.get(f"{layer}.router.weight")
    count = len(numbers)
    if router is None or len(router.shape) != 2 or not count or numbers != set(range(1, count + 1)):
        raise UserError(f"{folder / WEIGHTS}: {layer} needs a router, and experts from 1 on", _HINT)
    rows, width = router.shape
    if rows != count + 1 or top_k > rows:
        problem = f"{layer} has {count} experts and its own network, its router {rows} rows, and top_k is {top_k}"
        raise UserError(f"{folder / WEIGHTS}: {problem}", _HINT)
    for number in sorted(numbers):
        _check_network(folder, headers, f"{layer}.experts.{number}", width)
    return width, count


def _check_network(folder: Path, headers: dict[str, Header], stem: str, width: int) -> None:
    found = {name: headers[f"{stem}.{name}"].shape for name in ("in.weight", "out.weight", "in.bias", "out.bias")
             if f"{stem}.{name}" in headers}  # fmt: skip
    inner = found.get("in.weight", (0,))[0]
    plain = {"in.weight": (inner, width), "out.weight": (width, inner)}
    if found not in (plain, plain | {"in.bias": (inner,), "out.bias": (width,)}):
        raise UserError(f"{folder / WEIGHTS}: {stem} is no network of width {width}", _HINT)
