"""Merging models whose makers stand behind them: whole models, patches, or both at once.

In a round, contributors may lie: `merge` bounds what each can do. Here a maintainer has chosen what to merge and answers
for it, so methods are those of their papers. A method is a frozen dataclass of its parameters, in a file of its own, and
works on *updates* (`update.Update`: base − weights). Where a paper speaks of weights it comes to the same: all methods but
`slerp` commute with subtracting from the base, and `slerp` adds the base again.

Results are bit-identical on every machine and depend on the order of the updates only by rounding; callers sort by hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Protocol

from torch import Tensor

from ..errors import NonFiniteError
from ..floats import finite
from ..layout import Layout, Tensors
from ..outer import sgd
from .average import Average
from .dare import Dare
from .fisher import Fisher
from .regmean import RegMean
from .slerp import Slerp
from .task_arithmetic import TaskArithmetic
from .ties import Ties
from .update import Update


class ModelMethod(Protocol):
    """Raises `ValueError` if made with a parameter out of range."""

    def merge(self, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
        """The merged update, float32. At least one update, all of the base's layout.

        Raises `MissingStatisticsError` if the method needs what an update lacks.
        """
        ...


MODEL_METHODS: Mapping[str, type[ModelMethod]] = {
    "average": Average,
    "fisher": Fisher,
    "regmean": RegMean,
    "ties": Ties,
    "dare": Dare,
    "task_arithmetic": TaskArithmetic,
    "slerp": Slerp,
}


def parameters(name: str) -> dict[str, float]:
    """A method's parameters and their defaults. `ValueError` if there is no such method."""
    return {field.name: field.default for field in fields(_class(name))}  # type: ignore[arg-type, misc]


def model_method(name: str, **chosen: float) -> ModelMethod:
    """The method of that name with these parameters. `ValueError` on a name or parameter that there is not."""
    known = parameters(name)
    for parameter in chosen:
        if parameter not in known:
            raise ValueError(f"{name} has no parameter {parameter!r}, only {', '.join(known) or 'none'}")
    return _class(name)(**chosen)


def merge_updates(method: ModelMethod, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
    """The merged update, in the base's layout. `ValueError` on another layout or no update,
    `NonFiniteError` if it overflows, and what `ModelMethod.merge` raises."""
    if not updates:
        raise ValueError("nothing to merge")
    layout = Layout.of(base)
    for update in updates:
        layout.require(update.delta, "an update")
    merged = method.merge(base, updates)
    for name, tensor in merged.items():
        if not finite(tensor):
            raise NonFiniteError(f"the merge of {name!r} is not finite")
    return merged


def merge_models(method: ModelMethod, base: Tensors, updates: Sequence[Update]) -> dict[str, Tensor]:
    """The merged model: base − `merge_updates`."""
    return sgd(base, merge_updates(method, base, updates), rate=1.0)


def _class(name: str) -> type[ModelMethod]:
    try:
        return MODEL_METHODS[name]
    except KeyError:
        raise ValueError(f"no merge method {name!r}, only {', '.join(MODEL_METHODS)}") from None
