"""A model family's counterpart in `transformers`: the same function under other names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError

Array = NDArray[np.float32]
Arrays = Mapping[str, Array]


class Mismatch(UserError):
    """A checkpoint is not one of the event's model; the message says in what they differ."""


@dataclass(frozen=True)
class Counterpart:
    """`config` is what `config.json` says; of it, `fixed` keys must be equal in a checkpoint that is read.

    `outwards` and `inwards` map all weights of a model, float32, by name: ours to theirs and back. `inwards` is given their
    config too; it raises Mismatch, and ValueError or IndexError for shapes that do not fit.
    """

    config: dict[str, Any]
    fixed: tuple[str, ...]
    outwards: Callable[[Arrays], dict[str, Array]]
    inwards: Callable[[Arrays, Mapping[str, Any]], dict[str, Array]]


def take(theirs: Arrays, name: str) -> Array:
    """Return a tensor of a checkpoint. Raises Mismatch if it is not there."""
    if name not in theirs:
        raise Mismatch(f"the checkpoint has no tensor {name}", "it is of another architecture, or only a part of a model")
    return theirs[name]
