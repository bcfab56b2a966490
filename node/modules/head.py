"""Heads: what stands before a base or behind it. `head.json` has the `labels` of a head with classes; the tensors of
`head.safetensors` are any of these, where *hidden* is the base's last hidden state of `width`:

- `input.weight` (vocabulary × the base's embedding): token ids are read by it; the base's own table scores them still;
- `output.weight` (vocabulary × width) and, if it has one, `output.bias`: tokens are scored by it, from hidden;
- `classes.weight` (labels × width) and `classes.bias`: a text's label, from the mean of hidden over its first block.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..errors import UserError
from .reading import read_config, read_headers

CONFIG = "head.json"
WEIGHTS = "head.safetensors"
_HINT = "docs/RELEASES.md says what stands in a head's package"
_BIASES = {"output.bias": "output.weight", "classes.bias": "classes.weight"}
_MATRICES = ("input.weight", "output.weight", "classes.weight")


class HeadConfig(BaseModel):
    """What head.json says."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    labels: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=4096)] = ()


@dataclass(frozen=True)
class Head:
    """A checked head: `shapes` are its tensors', by name."""

    config: HeadConfig
    shapes: dict[str, tuple[int, ...]]


def check_head(folder: Path) -> Head:
    """Read the configuration and the tensors' shapes, none of the weights. Raises UserError."""
    config, headers = read_config(folder / CONFIG, HeadConfig, _HINT), read_headers(folder / WEIGHTS, _HINT)
    shapes = {name: header.shape for name, header in headers.items()}
    for name, header in headers.items():
        beside = shapes.get(_BIASES.get(name, ""))
        fits = len(header.shape) == 2 if name in _MATRICES else beside is not None and header.shape == beside[:1]
        if not fits or not header.is_float:
            raise UserError(f"{folder / WEIGHTS}: {name[:80]} is no part of a head", _HINT)
    if not shapes:
        raise UserError(f"{folder / WEIGHTS} is empty", _HINT)
    if len(set(config.labels)) < len(config.labels) or len(config.labels) != shapes.get("classes.weight", (0,))[0]:
        raise UserError(f"{folder / CONFIG}: labels: one for each row of classes.weight, no two alike", _HINT)
    return Head(config, shapes)
