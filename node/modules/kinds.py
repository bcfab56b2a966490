"""The kinds of packages that can be put into a base, and what each changes of what gates read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...protocol.gates import EventGate, HeadGate
from ...protocol.module import Module
from ..errors import UserError
from .adapter import check_adapter
from .datastore import check_datastore
from .expert import check_expert
from .head import check_head

Reading = Literal["scores", "features"]
_BOTH: frozenset[Reading] = frozenset({"scores", "features"})
_OF_HEADS: dict[str, frozenset[Reading]] = {
    "input.weight": _BOTH, "output.weight": frozenset({"scores"}), "classes.weight": frozenset({"features"}),
}  # fmt: skip


def check_module(module: Module, folder: Path) -> None:
    """Raise UserError unless the folder holds what its kind needs, and each of its gates can see what it changes."""
    changed = _changed(module.kind, folder)
    blind = next((gate for gate in module.gate if _read_by(gate) not in changed), None)
    if blind is not None:
        problem = f"gate {blind.name} is about the base's {_read_by(blind)}, which this {module.kind} leaves as they are"
        raise UserError(problem, "docs/RELEASES.md says which gates can see which kind")


def _changed(kind: str, folder: Path) -> frozenset[Reading]:
    match kind:
        case "adapter":
            check_adapter(folder)
        case "expert":
            check_expert(folder)
        case "head":
            parts = [_OF_HEADS.get(name, frozenset[Reading]()) for name in check_head(folder).shapes]
            return frozenset().union(*parts)
        case "datastore":
            check_datastore(folder)
            return frozenset({"scores"})
    return _BOTH


def _read_by(gate: EventGate) -> Reading:
    return "features" if isinstance(gate, HeadGate) else "scores"
